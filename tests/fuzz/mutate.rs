//! Inputs that are nearly right.

use fastrand::Rng;

/// Bytes of an input.
const BYTES_MAX: usize = 64 * 1024;
/// Pieces that readers stumble over.
const PIECES: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"'",
    b"\\",
    b"\0",
    b"\xff",
    b"\xf0\x9f\x98\x80",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"99999999999999999999",
    b"0.1",
    b"\"\"",
    b"{}",
    b"[[[[[[[[",
    b"&",
    b"=",
    b"%",
    b"%00",
    b"%2",
    b".1",
    b".member.1",
    b".entry.1.key",
    b"..",
    b"${",
    b"}",
    b"{%",
    b"%}",
    b"!Ref",
    b"!Sub",
    b"*a",
    b"&a",
    b"<<:",
    b"- ",
    b": ",
    b"\n",
    b"\r\n",
    b"\t",
    b"Fn::If",
    b"Fn::Sub",
    b"Ref",
    b"AWS::NoValue",
    b"AND",
    b"NOT",
    b"IN",
    b"(",
    b")",
    b"LIKE '%'",
    b"\x9f",
    b"\xbf",
    b"\xff\xff\xff\xff",
    b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
    b"*",
    b"?",
];

/// An input made of the seeds.
pub fn mutated(seeds: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let mut input = seeds[random.usize(..seeds.len())].clone();
    for _ in 0..random.usize(1..6) {
        mutate(&mut input, seeds, random);
    }
    input.truncate(BYTES_MAX);
    input
}

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Rng) {
    let at = random.usize(..=input.len());
    let end = (at + random.usize(1..32)).min(input.len());
    match random.u8(..8) {
        0 if at < input.len() => input[at] ^= 1 << random.u8(..8),
        1 if at < input.len() => input[at] = random.u8(..),
        2 => drop(input.drain(at..end)),
        3 => {
            let piece = PIECES[random.usize(..PIECES.len())];
            input.splice(at..at, piece.iter().copied());
        }
        4 => {
            let piece = input[at..end].to_vec();
            let times = 1 << random.usize(..8);
            input.splice(at..at, piece.repeat(times));
        }
        5 => {
            let other = &seeds[random.usize(..seeds.len())];
            let from = random.usize(..=other.len());
            let piece = other[from..(from + random.usize(1..200)).min(other.len())].to_vec();
            input.splice(at..end, piece);
        }
        6 => input.truncate(at),
        _ => {
            let piece = PIECES[random.usize(..PIECES.len())];
            input.splice(at..end, piece.repeat(random.usize(1..64)));
        }
    }
}
