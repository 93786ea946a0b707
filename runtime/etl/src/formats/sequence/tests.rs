//! Files as Hadoop's writers make them, and damaged ones.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use steppe_wire::hint;

use super::*;
use crate::formats::TableFormat;

const SYNC: [u8; 16] = *b"sixteen bytes 16";
const CODECS: [&str; 5] = ["DefaultCodec", "DeflateCodec", "GzipCodec", "SnappyCodec", "Lz4Codec"];

/// How a file is written.
#[derive(Clone, Copy)]
struct Written<'a> {
    class: &'a str,
    codec: Option<&'a str>,
    in_blocks: bool,
}

const PLAIN: Written<'_> = Written { class: "Text", codec: None, in_blocks: false };

fn vint(number: i64) -> Vec<u8> {
    if (-112..=127).contains(&number) {
        return vec![number.to_be_bytes()[7]];
    }
    let (magnitude, base) = if number < 0 { (!number, -120) } else { (number, -112) };
    let bytes = magnitude.to_be_bytes();
    let first = bytes.iter().position(|byte| *byte != 0).expect("not zero");
    let length = i64::try_from(8 - first).expect("few");
    [&[(base - length).to_be_bytes()[7]], &bytes[first..]].concat()
}

fn text(text: &[u8]) -> Vec<u8> {
    [vint(text.len() as i64), text.to_vec()].concat()
}

fn int(number: usize) -> [u8; 4] {
    i32::try_from(number).expect("small").to_be_bytes()
}

fn chunks(plain: &[u8], pack: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut out = int(plain.len()).to_vec();
    for chunk in plain.chunks(100) {
        let packed = pack(chunk);
        out.extend([&int(packed.len())[..], &packed].concat());
    }
    out
}

fn compressed(codec: &str, plain: &[u8]) -> Vec<u8> {
    match codec {
        "GzipCodec" => {
            let mut encoder = GzEncoder::new(vec![], Compression::default());
            encoder.write_all(plain).and_then(|()| encoder.finish()).expect("gzip")
        }
        "SnappyCodec" => {
            chunks(plain, |part| snap::raw::Encoder::new().compress_vec(part).expect("snappy"))
        }
        "Lz4Codec" => chunks(plain, lz4_flex::block::compress),
        _ => {
            let mut encoder = ZlibEncoder::new(vec![], Compression::default());
            encoder.write_all(plain).and_then(|()| encoder.finish()).expect("zlib")
        }
    }
}

impl Written<'_> {
    fn header(self) -> Vec<u8> {
        let class = |name: &str| text(format!("org.apache.hadoop.io.{name}").as_bytes());
        let mut file = b"SEQ\x06".to_vec();
        file.extend([class("LongWritable"), class(self.class)].concat());
        file.extend([u8::from(self.codec.is_some()), u8::from(self.in_blocks)]);
        if let Some(codec) = self.codec {
            file.extend(class(&format!("compress.{codec}")));
        }
        file.extend([&int(1)[..], &text(b"who"), &text(b"a test"), &SYNC].concat());
        file
    }

    fn value(self, value: &[u8]) -> Vec<u8> {
        match self.class {
            "BytesWritable" => [&int(value.len())[..], value].concat(),
            _ => text(value),
        }
    }

    /// A file with a mark before every third record, or as many records in a block.
    fn file(self, values: &[&[u8]]) -> Vec<u8> {
        let (mut file, key) = (self.header(), [7; 8]);
        for part in values.chunks(3) {
            file.extend([&(-1_i32).to_be_bytes()[..], &SYNC].concat());
            let plain: Vec<Vec<u8>> = part.iter().map(|value| self.value(value)).collect();
            let pack = |bytes: &[u8]| self.codec.map_or(bytes.to_vec(), |c| compressed(c, bytes));
            if self.in_blocks {
                let lengths: Vec<u8> =
                    plain.iter().flat_map(|value| vint(value.len() as i64)).collect();
                file.extend(vint(part.len() as i64));
                let keys = (vec![8; part.len()], key.repeat(part.len()));
                for bytes in [keys.0, keys.1, lengths, plain.concat()] {
                    file.extend(text(&pack(&bytes)));
                }
                continue;
            }
            for value in plain {
                let value = pack(&value);
                file.extend([&int(8 + value.len())[..], &int(8), &key, &value].concat());
            }
        }
        file
    }
}

fn values(file: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut values = Values::open(Box::new(std::io::Cursor::new(file.to_vec())))?;
    let mut all = vec![];
    loop {
        let mut value = vec![];
        if !values.next(&mut value)? {
            return Ok(all);
        }
        all.push(value);
    }
}

fn lines(file: &[u8]) -> Result<String, String> {
    let told = |error: &(dyn std::error::Error + 'static)| hint::told(error);
    let file = Box::new(std::io::Cursor::new(file.to_vec()));
    let mut lines = Lines::open(file, TableFormat::Csv).map_err(|error| told(&*error))?;
    let mut text = String::new();
    lines.read_to_string(&mut text).map_err(|error| told(&error))?;
    Ok(text)
}

fn all_kinds() -> impl Iterator<Item = Written<'static>> {
    let compressed = CODECS.into_iter().flat_map(|codec| {
        [false, true].map(|in_blocks| Written { codec: Some(codec), in_blocks, ..PLAIN })
    });
    let all = [PLAIN].into_iter().chain(compressed);
    all.flat_map(|kind| ["Text", "BytesWritable"].map(|class| Written { class, ..kind }))
}

#[test]
fn values_are_read_however_they_are_kept() {
    let long = "0123456789,".repeat(30_000);
    let given: [&[u8]; 5] = [b"A,1", "Қазақстан,2".as_bytes(), b"", long.as_bytes(), b"B,3"];
    for kind in all_kinds() {
        let told = format!("{} {:?} {}", kind.class, kind.codec, kind.in_blocks);
        assert_eq!(values(&kind.file(&given)).expect(&told), given, "{told}");
        assert_eq!(values(&kind.file(&[])).expect(&told), [[0; 0]; 0], "{told}");
    }
    for number in [-129, -113, -112, -1, 0, 127, 128, 255, 65_536, i64::MAX, i64::MIN] {
        assert_eq!(super::vint(&mut &vint(number)[..]).expect("whole"), number);
    }
}

#[test]
fn a_file_that_ends_anywhere_but_behind_a_record_is_told() {
    for kind in all_kinds() {
        let file = kind.file(&[b"A,1", b"B,2", b"C,3", b"D,4"]);
        for end in 0..file.len() {
            match values(&file[..end]) {
                Err(error) => {
                    let told = format!("{error:#}");
                    let place = ["record ", "the header is damaged", "this is no sequence file"];
                    assert!(place.iter().any(|place| told.starts_with(place)), "{end}: {told}");
                }
                // Behind a whole record or a mark, nothing tells that more was there.
                Ok(found) => assert!(found.len() < 5 && end >= kind.header().len(), "{end}"),
            }
        }
    }
}

#[test]
fn damaged_bytes_never_make_room_or_panic() {
    for kind in all_kinds() {
        let file = kind.file(&[b"A,1", b"B,2", b"C,3", b"D,4"]);
        for at in 0..file.len() {
            for byte in [0, 0x7f, 0x80, 0x88, 0x8c, 0xff] {
                let mut damaged = file.clone();
                damaged[at] = byte;
                // Bytes of a value may be any; what matters is that reading ends.
                let _any = lines(&damaged);
            }
        }
    }
}

#[test]
fn lengths_that_lie_are_refused() {
    let header = PLAIN.header();
    let record = |bytes: &[&[u8]]| [&[&header[..]], bytes].concat().concat();
    let huge = 0x7fff_ffff_i32.to_be_bytes();
    let negative = (-2_i32).to_be_bytes();
    for (file, told) in [
        (record(&[&huge, &[0; 4], &vint(0x7fff_ff00)]), "its length is 2147483392 bytes; at most"),
        (record(&[&huge, &[0; 4], &vint(1_000), b"abc"]), "it has 3 of 1000 bytes"),
        (record(&[&int(5), &int(6), &[0; 6]]), "its length is 5 with 6 of the key"),
        (record(&[&negative, &int(0)]), "its length is -2 with 0 of the key"),
        (record(&[&int(4), &negative]), "its length is 4 with -2 of the key"),
        (record(&[&int(8), &huge]), "its length is 8 with 2147483647 of the key"),
        (record(&[&int(4), &int(0), &vint(-1), b"abc"]), "a length is -1"),
        (record(&[&int(5), &int(0), &vint(2), b"abcd"]), "there are more bytes than its length"),
        (record(&[&(-1_i32).to_be_bytes(), &[9; 16]]), "the mark before it is not that"),
    ] {
        let found = hint::told(&*values(&file).expect_err(told));
        assert!(found.starts_with("record 1 cannot be read: "), "{found}");
        assert!(found.contains(told) && found.contains("\nhint: "), "{found}");
    }
    let blocks = Written { codec: Some("DefaultCodec"), in_blocks: true, ..PLAIN };
    let block = |bytes: &[&[u8]]| {
        let mark = [&(-1_i32).to_be_bytes()[..], &SYNC].concat();
        [blocks.header(), mark, bytes.concat()].concat()
    };
    let lots = vint(0x7fff_ffff_ffff);
    let pack = |bytes: &[u8]| text(&compressed("DefaultCodec", bytes));
    for (file, told) in [
        (block(&[&vint(-5)]), "the number of records is negative"),
        (block(&[&vint(1), &lots]), "the file ends too early"),
        (block(&[&lots, &pack(b""), &pack(b""), &lots]), "it says that it has"),
        (
            block(&[&lots, &pack(b""), &pack(b""), &pack(b""), &pack(b"")]),
            "the file ends too early",
        ),
        (
            block(&[&vint(1), &pack(b""), &pack(b""), &pack(&vint(9)), &pack(b"\x03abc")]),
            "record 1 cannot be read: ",
        ),
        (
            block(&[&vint(1), &pack(b""), &pack(b""), &pack(&vint(4)), &pack(b"\x03abcd")]),
            "there are more bytes than its length",
        ),
        ([blocks.header(), vec![0; 4]].concat(), "a block does not begin with a mark"),
    ] {
        match values(&file) {
            Err(error) => assert!(format!("{error:#}").contains(told), "{told}: {error:#}"),
            Ok(found) => {
                assert_eq!((told, found), ("record 1 cannot be read: ", vec![b"abc".to_vec()]))
            }
        }
    }
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let odd = |class: &'static str, codec| Written { class, codec, in_blocks: false }.header();
    let mut odd_key = PLAIN.header();
    let key = odd_key.windows(12).position(|part| part == b"LongWritable").expect("a key");
    odd_key[key..key + 12].copy_from_slice(b"LongestWrite");
    for (file, told) in [
        (
            odd("IntWritable", None),
            "the values are of the class `org.apache.hadoop.io.IntWritable`",
        ),
        (
            odd("Text", Some("BZip2Codec")),
            "compressed by `org.apache.hadoop.io.compress.BZip2Codec`",
        ),
        (odd("Text", Some("ZStandardCodec")), "hint: write the file with `DefaultCodec`"),
        (
            odd_key,
            "the keys are of the class `org.apache.hadoop.io.LongestWrite`, which is not read",
        ),
        (Written { in_blocks: true, ..PLAIN }.header(), "damaged: blocks have no codec"),
        (b"SEQ\x05".to_vec(), "this is no sequence file of version 6"),
        (b"".to_vec(), "this is no sequence file of version 6"),
        (
            [&b"SEQ\x06"[..], &text(&[b'x'; 2_000_000])].concat(),
            "the header is damaged, or has more",
        ),
    ] {
        let found = lines(&file).expect_err(told);
        assert!(found.contains(told), "{found}");
    }
}

#[test]
fn each_value_is_a_line_with_the_number_of_the_record() {
    let given: [&[u8]; 3] = [b"A,1", b" ", "Қ".as_bytes()];
    assert_eq!(lines(&PLAIN.file(&given)).as_deref(), Ok("A,1\n \nҚ\n"));
    for (value, told) in [
        (&b"a\nb"[..], "record 4: the value has more than one line\nhint: "),
        (b"a\r", "record 4: the value has more than one line\nhint: "),
        (b"", "record 4: the value is empty\nhint: "),
        (b"\xff", "record 4: the text is not UTF-8\nhint: "),
    ] {
        let found = lines(&PLAIN.file(&[given[0], given[1], given[2], value])).expect_err(told);
        assert!(found.starts_with(told), "{found}");
    }
    // Of JSON a line of white space would be left out, and records after it have other numbers.
    let file = Box::new(std::io::Cursor::new(PLAIN.file(&[b"{}", b" \t"])));
    let mut lines = Lines::open(file, TableFormat::Json).expect("a header");
    let told = lines.read_to_string(&mut String::new()).expect_err("refused").to_string();
    assert!(told.starts_with("record 2: the value is empty"), "{told}");
}
