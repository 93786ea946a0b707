//! Which encoding text is in that is not UTF-8: Windows-1251 or Windows-1252, or nobody knows.
//!
//! Two witnesses must agree, because a wrong guess gives every region a wrong name and no error:
//! Mozilla's detector, which knows how often letters follow one another, and a look at the words,
//! whose letters must be of one script and in the case that words have.

use std::io::{BufRead, Read};

use anyhow::Result;
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, WINDOWS_1251, WINDOWS_1252};

/// Bytes that are looked at together: a line, or so much of a longer one.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of lines with other letters than ASCII's that the witnesses look at.
const SAMPLE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Words that speak for an encoding for each that may speak against it.
const CLEAR_PER_DOUBTFUL: u64 = 50;
/// Letters of a word that tell something by themselves.
const WORD_LETTERS: usize = 3;
/// The letters of Windows-1251 that the Kazakh RK1048 has, too; all of the Russian are among them.
const RUSSIAN: [std::ops::RangeInclusive<u8>; 3] = [0xc0..=0xff, 0xa8..=0xa8, 0xb8..=0xb8];
const KAZAKH_I: [u8; 2] = [0xb2, 0xb3];

/// What text that is not UTF-8 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// In this encoding.
    Is(&'static Encoding),
    /// UTF-8 with a few wrong bytes.
    DamagedUtf8,
    /// Windows-1251 by its words, but with letters that are others in the Kazakh code page.
    Cyrillic,
    /// Nothing that is clear; the detector says this.
    Unclear(&'static Encoding),
}

/// Words read in one encoding.
#[derive(Debug, Default)]
struct Words {
    /// Such as only that encoding gives.
    clear: u64,
    /// Such as no language has.
    doubtful: u64,
}

impl Words {
    fn are_clear(&self) -> bool {
        self.clear > 0 && self.doubtful * CLEAR_PER_DOUBTFUL <= self.clear
    }

    /// Counts the words of `text` that have letters beyond ASCII's; `is_clear` is told how many
    /// letters of a word are ASCII's and how many are not.
    fn count(&mut self, text: &str, is_clear: impl Fn(usize, usize) -> Option<bool>) {
        for word in text.split(|c: char| !c.is_alphabetic()) {
            let ascii = word.bytes().filter(u8::is_ascii).count();
            let others = word.chars().count() - ascii;
            if others == 0 {
                continue;
            }
            match is_clear(ascii, others) {
                _ if !has_case_of_words(word) => self.doubtful += 1,
                Some(true) => self.clear += 1,
                Some(false) => self.doubtful += 1,
                None => {}
            }
        }
    }
}

/// `область`, `Область` or `ОБЛАСТЬ`.
fn has_case_of_words(word: &str) -> bool {
    let rest = || word.chars().skip(1);
    !rest().any(char::is_uppercase) || !word.chars().any(char::is_lowercase)
}

/// What the lines tell.
struct Evidence {
    /// How often each byte was seen.
    seen: [u64; 256],
    /// Characters in UTF-8, and bytes that are none.
    utf8: (u64, u64),
    /// Whether each character is the same in both encodings.
    same_in_both: bool,
    /// Bytes that the witnesses have seen.
    sampled: usize,
    detector: EncodingDetector,
    cyrillic: Words,
    western: Words,
}

impl Evidence {
    fn look_at(&mut self, line: &[u8]) {
        line.iter().for_each(|byte| self.seen[usize::from(*byte)] += 1);
        for chunk in line.utf8_chunks() {
            self.utf8.0 += chunk.valid().chars().filter(|c| !c.is_ascii()).count() as u64;
            self.utf8.1 += chunk.invalid().len() as u64;
        }
        if self.sampled > SAMPLE_BYTES_MAX {
            return;
        }
        self.sampled += line.len();
        self.detector.feed(line, false);
        let (as_1251, _) = WINDOWS_1251.decode_without_bom_handling(line);
        let (as_1252, _) = WINDOWS_1252.decode_without_bom_handling(line);
        self.same_in_both &= as_1251 == as_1252;
        // Cyrillic words have no Latin letters, and Western ones seldom anything but them.
        let cyrillic = |ascii, others| match (ascii, others) {
            (0, others) => (others >= WORD_LETTERS).then_some(true),
            _ => Some(false),
        };
        let western = |ascii, others| match (ascii, others) {
            (0, others) => (others >= WORD_LETTERS).then_some(false),
            _ => Some(true),
        };
        self.cyrillic.count(&as_1251, cyrillic);
        self.western.count(&as_1252, western);
    }

    fn times(&self, is_meant: impl Fn(u8) -> bool) -> u64 {
        let bytes = (0..=u8::MAX).filter(|byte| is_meant(*byte));
        bytes.map(|byte| self.seen[usize::from(byte)]).sum()
    }

    fn guess(mut self) -> Guess {
        if self.utf8.0 > self.utf8.1 {
            return Guess::DamagedUtf8;
        }
        self.detector.feed(b"", true);
        let detected = self.detector.guess(None, Utf8Detection::Deny);
        // Programs before Windows had their letters where Windows-1252 has few.
        let low = self.times(|b| b"\x8a\x8c\x8e\x9a\x9c\x9e\x9f".contains(&b));
        let high = self.times(|b| b >= 0xc0);
        let undefined = self.times(|b| b"\x81\x8d\x8f\x90\x9d".contains(&b));
        let is_western = self.western.are_clear() && low * 10 <= high && undefined == 0;
        if is_western && !self.cyrillic.are_clear() && detected == WINDOWS_1252 {
            return Guess::Is(WINDOWS_1252);
        }
        let russian = |b| RUSSIAN.iter().any(|r| r.contains(&b)) || KAZAKH_I.contains(&b);
        let as_letter = |b: u8| {
            let (text, _) = WINDOWS_1251.decode_without_bom_handling(std::slice::from_ref(&b));
            b >= 0x80 && text.chars().all(|c| c.is_alphabetic() || c.is_control())
        };
        if self.cyrillic.are_clear() && !self.western.are_clear() && detected == WINDOWS_1251 {
            let others = self.times(|b| as_letter(b) && !russian(b));
            return if others == 0 { Guess::Is(WINDOWS_1251) } else { Guess::Cyrillic };
        }
        // Spaces, dashes and quotation marks only.
        let no_word = |words: &Words| words.clear + words.doubtful == 0;
        if self.same_in_both && no_word(&self.western) && self.sampled <= SAMPLE_BYTES_MAX {
            return Guess::Is(WINDOWS_1252);
        }
        Guess::Unclear(detected)
    }
}

/// Guesses from the whole text.
pub fn guess(text: impl Read) -> Result<Guess> {
    let mut text = std::io::BufReader::new(text);
    let mut evidence = Evidence {
        seen: [0; 256],
        utf8: (0, 0),
        same_in_both: true,
        sampled: 0,
        detector: EncodingDetector::new(Iso2022JpDetection::Deny),
        cyrillic: Words::default(),
        western: Words::default(),
    };
    let mut line = Vec::new();
    while text.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? > 0 {
        if !line.is_ascii() {
            evidence.look_at(&line);
        }
        line.clear();
    }
    Ok(evidence.guess())
}
