//! Which encoding text is in that is not UTF-8: Windows-1251 or Windows-1252, or nobody knows.
//!
//! Two witnesses must agree, because a wrong guess gives every region a wrong name and no error:
//! Mozilla's detector, which knows how often letters follow one another, and a look at the words,
//! whose letters must be of one script and in the case that words have.

use std::collections::BTreeSet;
use std::io::{BufRead, Read};

use anyhow::Result;
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, WINDOWS_1250, WINDOWS_1251, WINDOWS_1252, WINDOWS_1254, WINDOWS_1257};

/// Bytes that are looked at together: a line, or so much of a longer one.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of lines with other letters than ASCII's that the witnesses look at.
const SAMPLE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Words that speak for an encoding for each that may speak against it.
const CLEAR_PER_DOUBTFUL: u64 = 50;
/// Letters of a word, or of a text, that tell something by themselves.
const LETTERS_MIN: usize = 3;
/// The letters of Windows-1251 that the Kazakh RK1048 has, too; all of the Russian are among them.
const RUSSIAN_AND_KAZAKH: &str = "абвгдежзийклмнопрстуфхцчшщъыьэюяёі";
/// What stands before and after words, or alone.
const SIGNS: &str = "\u{a0}«»„“”‘’–—…°±·•§©®™";
/// What tables of numbers have, the same in Windows-1251 and Windows-1252.
const NUMBER_SIGNS: &str = "\u{a0}–—…°±";

/// The letters of languages besides ASCII's, in the encodings in which they are written. Where a
/// text can be of one language in one and of another in another, only more of it tells.
static ALPHABETS: [(&Encoding, &str); 20] = [
    (WINDOWS_1252, "äöüß"),
    (WINDOWS_1252, "áâãàçéêíóôõúü"),
    (WINDOWS_1252, "áéíñóúüç"),
    (WINDOWS_1252, "àâæçéèêëîïôœùûüÿ"),
    (WINDOWS_1252, "àèéìíòóùú"),
    (WINDOWS_1252, "åäöéüà"),
    (WINDOWS_1252, "æøåéóöä"),
    (WINDOWS_1252, "áðéíóúýþæö"),
    (WINDOWS_1252, "äõöüšž"),
    (WINDOWS_1252, "äëéïöüèêâîôûúó"),
    (WINDOWS_1250, "ąćęłńóśźż"),
    (WINDOWS_1250, "áčďéěíňóřšťúůýž"),
    (WINDOWS_1250, "áäčďéíĺľňóôŕšťúýž"),
    (WINDOWS_1250, "áéíóöőúüű"),
    (WINDOWS_1250, "ăâîşţ"),
    (WINDOWS_1250, "čćđšž"),
    (WINDOWS_1254, "çğıi\u{307}öşü"),
    (WINDOWS_1257, "ąčęėįšųūž"),
    (WINDOWS_1257, "āčēģīķļņšūž"),
    (WINDOWS_1257, "äõöüšž"),
];

/// What text that is not UTF-8 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// In this encoding.
    Is(&'static Encoding),
    /// UTF-8 with a few wrong bytes.
    DamagedUtf8,
    /// Windows-1251 by its words, with letters that are others in the Kazakh code page.
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

    /// Counts the words of `text` that are not of ASCII; `is_clear` is told how many letters of a
    /// word are ASCII's and how many are not.
    fn count(&mut self, text: &str, is_clear: impl Fn(usize, usize) -> Option<bool>) {
        for word in text.split(|c: char| c.is_ascii_whitespace() || c.is_ascii_punctuation()) {
            let word = word.trim_matches(|c: char| SIGNS.contains(c));
            if word.is_ascii() || !word.contains(char::is_alphabetic) {
                continue;
            }
            let ascii = word.bytes().filter(u8::is_ascii_alphabetic).count();
            let others = word.chars().filter(|c| c.is_alphabetic()).count() - ascii;
            match is_clear(ascii, others) {
                _ if !is_word(word) => self.doubtful += 1,
                Some(true) if others > 0 => self.clear += 1,
                Some(false) if others > 0 => self.doubtful += 1,
                _ => {}
            }
        }
    }
}

/// Whether nothing but letters, digits and few signs is in it, no letter stands between digits, and
/// letters have the case of words: `область`, `Область` or `ОБЛАСТЬ`.
fn is_word(text: &str) -> bool {
    let known = |c: char| c.is_alphanumeric() || "\u{a0}\u{ad}‘’№".contains(c);
    let cased = |word: &str| {
        let rest = || word.chars().skip(1);
        !rest().any(char::is_uppercase) || !word.chars().any(char::is_lowercase)
    };
    let inside = text.trim_matches(|c: char| !c.is_ascii_digit());
    let between = inside.chars().any(|c| c.is_alphabetic() && !c.is_ascii());
    !between && text.chars().all(known) && text.split(|c: char| !c.is_alphabetic()).all(cased)
}

/// What the lines tell.
struct Evidence {
    /// How often each byte was seen.
    seen: [u64; 256],
    /// Characters in UTF-8, and bytes that are none.
    utf8: (u64, u64),
    /// Bytes that the witnesses have seen.
    sampled: usize,
    detector: EncodingDetector,
    cyrillic: Words,
    western: Words,
}

impl Evidence {
    fn look_at(&mut self, line: &[u8]) {
        for byte in line {
            self.seen[usize::from(*byte)] += 1;
        }
        if self.sampled > SAMPLE_BYTES_MAX {
            return;
        }
        for chunk in line.utf8_chunks() {
            self.utf8.0 += chunk.valid().chars().filter(|c| !c.is_ascii()).count() as u64;
            self.utf8.1 += chunk.invalid().len() as u64;
        }
        self.sampled += line.len();
        self.detector.feed(line, false);
        let (as_1251, _) = WINDOWS_1251.decode_without_bom_handling(line);
        let (as_1252, _) = WINDOWS_1252.decode_without_bom_handling(line);
        // Cyrillic words have no Latin letters, and Western ones seldom anything but them.
        let cyrillic = |ascii, others| match (ascii, others) {
            (0, others) => (others >= LETTERS_MIN).then_some(true),
            _ => Some(false),
        };
        let western = |ascii, others| match (ascii, others) {
            (0, others) => (others >= LETTERS_MIN).then_some(false),
            _ => Some(true),
        };
        self.cyrillic.count(&as_1251, cyrillic);
        self.western.count(&as_1252, western);
    }

    /// The characters beyond ASCII's in an encoding, as small letters.
    fn characters(&self, encoding: &'static Encoding) -> BTreeSet<char> {
        let seen = (0x80..=u8::MAX).filter(|byte| self.seen[usize::from(*byte)] > 0);
        let bytes: Vec<u8> = seen.collect();
        let (text, _) = encoding.decode_without_bom_handling(&bytes);
        text.chars().flat_map(char::to_lowercase).collect()
    }

    /// Its letters, when one language has all of them.
    fn letters_of_a_language(&self, encoding: &'static Encoding) -> Option<BTreeSet<char>> {
        let mut letters = self.characters(encoding);
        letters.retain(|c| c.is_alphabetic());
        let has_all = |alphabet: &str| letters.iter().all(|letter| alphabet.contains(*letter));
        let mut alphabets = ALPHABETS.iter().filter(|(of, _)| *of == encoding);
        alphabets.any(|(_, alphabet)| has_all(alphabet)).then_some(letters)
    }

    fn is_western(&self, detected: &'static Encoding) -> bool {
        if !self.western.are_clear() {
            return false;
        }
        let Some(letters) = self.letters_of_a_language(WINDOWS_1252) else { return false };
        // Portuguese and Estonian have õ only beside these; Hungarian has ő in its place.
        if letters.contains(&'õ') && !letters.contains(&'ã') && !letters.contains(&'ä') {
            return false;
        }
        let others = [WINDOWS_1250, WINDOWS_1254, WINDOWS_1257];
        let is_other = |encoding: &&'static Encoding| {
            self.letters_of_a_language(encoding).is_some_and(|other| other != letters)
        };
        let is_enough = detected == WINDOWS_1252 && letters.len() >= LETTERS_MIN;
        is_enough || !others.iter().any(is_other)
    }

    fn guess(mut self) -> Guess {
        if self.utf8.0 > self.utf8.1 {
            return Guess::DamagedUtf8;
        }
        self.detector.feed(b"", true);
        let detected = self.detector.guess(None, Utf8Detection::Deny);
        let (cyrillic, western) = (self.cyrillic.are_clear(), self.western.are_clear());
        if cyrillic && !western && detected == WINDOWS_1251 {
            let mut characters = self.characters(WINDOWS_1251);
            characters.retain(|c| c.is_alphabetic() || c.is_control());
            let are_known = characters.iter().all(|c| RUSSIAN_AND_KAZAKH.contains(*c));
            return if are_known { Guess::Is(WINDOWS_1251) } else { Guess::Cyrillic };
        }
        if !cyrillic && self.is_western(detected) {
            return Guess::Is(WINDOWS_1252);
        }
        let mut characters = self.characters(WINDOWS_1252).into_iter();
        if characters.all(|c| NUMBER_SIGNS.contains(c)) && self.western.doubtful == 0 {
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

#[cfg(test)]
mod tests {
    use encoding_rs::KOI8_U;

    use super::*;

    fn guessed(encoding: &'static Encoding, names: &[&str]) -> Guess {
        let rows = names.iter().map(|name| format!("{name},2000,1\n"));
        let text = format!("region,year,marriages\n{}", rows.collect::<String>());
        let (bytes, _, unmappable) = encoding.encode(&text);
        assert!(!unmappable, "{text}");
        guess(&*bytes).expect("readable")
    }

    #[test]
    fn russian_text_is_told_from_western() {
        let is = |encoding, names: &[&str]| {
            assert_eq!(guessed(encoding, names), Guess::Is(encoding), "{names:?}");
        };
        is(WINDOWS_1251, &["Акмолинская область", "г. Шымкент", "ВКО"]);
        is(WINDOWS_1251, &["Алматы"]);
        is(WINDOWS_1251, &["АЛМАТЫ", "Astana", "ТОО «Alma»", "№ 5", "с. Іле"]);
        is(WINDOWS_1252, &["Amapá", "Ceará", "Espírito Santo", "São Paulo", "Rondônia"]);
        is(WINDOWS_1252, &["Skåne län", "Örebro län"]);
        is(WINDOWS_1252, &["Bayern", "Thüringen"]);
        is(WINDOWS_1252, &["Côte-d’Or", "Hérault", "Ardèche"]);
        is(WINDOWS_1252, &["1\u{a0}234", "2000–2001"]);
    }

    #[test]
    fn what_is_not_clear_is_not_guessed() {
        let unclear = |encoding, names: &[&str]| {
            let guess = guessed(encoding, names);
            assert!(matches!(guess, Guess::Unclear(_)), "{names:?}: {guess:?}");
        };
        unclear(KOI8_U, &["Акмолинская область", "Шымкент", "Алматы"]);
        unclear(encoding_rs::IBM866, &["Акмолинская область", "Шымкент", "Алматы"]);
        unclear(encoding_rs::ISO_8859_5, &["Акмолинская область", "Шымкент", "Алматы"]);
        unclear(WINDOWS_1250, &["Győr", "Fejér", "Hajdú-Bihar", "Nógrád"]);
        unclear(WINDOWS_1250, &["Poznań", "Kraków"]);
        unclear(WINDOWS_1250, &["Středočeský kraj", "Plzeňský", "Vysočina"]);
        unclear(WINDOWS_1254, &["Ankara", "Muğla"]);
        unclear(encoding_rs::MACINTOSH, &["Andalucía", "Aragón", "Cataluña"]);
        unclear(WINDOWS_1252, &["São Paulo", "Bahia"]);
        // Two witnesses who disagree, and a text of both.
        let mixed = b"\xc0\xeb\xec\xe0\xf2\xfb,1\nThuringen Th\xfcringen K\xf6ln,2\n";
        assert!(matches!(guess(&mixed[..]).expect("readable"), Guess::Unclear(_)));
    }

    #[test]
    fn kazakh_letters_are_not_read_as_serbian_ones() {
        // `Қарағанды` and `Алматы` in RK1048.
        let text = b"\x8d\xe0\xf0\xe0\xba\xe0\xed\xe4\xfb,1\n\xc0\xeb\xec\xe0\xf2\xfb,2\n";
        assert_eq!(guess(&text[..]).expect("readable"), Guess::Cyrillic);
        assert_eq!(guessed(WINDOWS_1251, &["Київська область", "Рівненська"]), Guess::Cyrillic);
    }

    #[test]
    fn a_broken_character_does_not_make_another_encoding() {
        let text = "Алматы,1\nАста\u{fffd}на,2\n".replace('\u{fffd}', "?");
        let mut bytes = text.into_bytes();
        let at = bytes.iter().position(|b| *b == b'?').expect("a mark");
        bytes[at] = 0xd0;
        assert_eq!(guess(&*bytes).expect("readable"), Guess::DamagedUtf8);
    }
}
