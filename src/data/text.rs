//! Text: byte and character tokenisers, and windows of tokens for language models.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::host::reserved;
use crate::rng::Generator;
use crate::tensor::Tensor;
use std::collections::{BTreeSet, HashMap};
use std::panic::Location;
use std::path::Path;

/// Text to token numbers and back.
pub trait Tokenizer {
    /// How many tokens there are; they are numbered from 0.
    fn vocabulary(&self) -> usize;

    /// The tokens of a text.
    ///
    /// # Errors
    /// The text has a part that no token stands for.
    fn encode(&self, text: &str) -> Result<Vec<i32>>;

    /// The text of tokens.
    ///
    /// # Errors
    /// A token is outside the vocabulary.
    #[track_caller]
    fn decode(&self, tokens: &[i32]) -> Result<String>;
}

/// A token that the vocabulary does not have.
fn outside(position: usize, token: i32, len: usize, at: &'static Location<'static>) -> Error {
    let help = "use tokens that this tokeniser has made, or a model with its vocabulary".into();
    Error::Index { op: "decode", index: i64::from(token), position, len, help, at }
}

/// One token per byte of UTF-8: 256 tokens, and any text can be encoded. What is no UTF-8 decodes to `�`.
///
/// ```
/// # use wgrad::data::{ByteTokenizer, Tokenizer};
/// # fn main() -> wgrad::Result<()> {
/// assert_eq!(ByteTokenizer.encode("é")?, [0xc3, 0xa9]);
/// assert_eq!(ByteTokenizer.decode(&[0xc3, 0xa9, 33])?, "é!");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByteTokenizer;

impl Tokenizer for ByteTokenizer {
    fn vocabulary(&self) -> usize {
        256
    }

    fn encode(&self, text: &str) -> Result<Vec<i32>> {
        Ok(text.bytes().map(i32::from).collect())
    }

    #[track_caller]
    fn decode(&self, tokens: &[i32]) -> Result<String> {
        let at = Location::caller();
        let byte = |(i, &t)| u8::try_from(t).map_err(|_| outside(i, t, 256, at));
        let bytes: Vec<u8> = tokens.iter().enumerate().map(byte).collect::<Result<_>>()?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// One token per character of the text that it was made from, in the characters' order.
///
/// ```
/// # use wgrad::data::{CharTokenizer, Tokenizer};
/// # fn main() -> wgrad::Result<()> {
/// let tokenizer = CharTokenizer::of("banana")?;
/// assert_eq!(tokenizer.encode("nab")?, [2, 0, 1]);
/// assert!(tokenizer.encode("bandana").unwrap_err().to_string().contains("'d'"));
/// assert_eq!(tokenizer.with_unknown('?').encode("bad")?, [1, 0, 3]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CharTokenizer {
    characters: Vec<char>,
    numbers: HashMap<char, i32>,
    unknown: Option<i32>,
}

impl CharTokenizer {
    /// The characters that occur in a text.
    ///
    /// # Errors
    /// The text is empty.
    pub fn of(text: &str) -> Result<Self> {
        let characters: Vec<char> = text.chars().collect::<BTreeSet<_>>().into_iter().collect();
        if characters.is_empty() {
            return Err(Error::argument("CharTokenizer::of", "the text is empty", "give the training text"));
        }
        let numbers = characters.iter().copied().zip(0..).collect();
        Ok(Self { characters, numbers, unknown: None })
    }

    /// Characters that the vocabulary lacks become `stand_in`, which joins it as the last token if it is not there yet. So a
    /// vocabulary can be made from the training text alone.
    #[must_use]
    pub fn with_unknown(mut self, stand_in: char) -> Self {
        // A vocabulary has at most as many characters as Unicode, which an i32 counts.
        let next = i32::try_from(self.characters.len()).unwrap_or(i32::MAX);
        let token = *self.numbers.entry(stand_in).or_insert(next);
        if token == next {
            self.characters.push(stand_in);
        }
        self.unknown = Some(token);
        self
    }

    /// The token of characters that the vocabulary lacks, if there is one.
    pub fn unknown(&self) -> Option<i32> {
        self.unknown
    }

    /// The characters, in the order of their tokens.
    pub fn characters(&self) -> &[char] {
        &self.characters
    }
}

impl Tokenizer for CharTokenizer {
    fn vocabulary(&self) -> usize {
        self.characters.len()
    }

    fn encode(&self, text: &str) -> Result<Vec<i32>> {
        let number = |(i, c): (usize, char)| {
            self.numbers.get(&c).copied().or(self.unknown).ok_or_else(|| {
                let reason = format!("the character {c:?} at position {i} is not in the vocabulary");
                Error::argument("encode", reason, "leave the character out, or give the tokeniser a stand-in by with_unknown")
            })
        };
        text.chars().enumerate().map(number).collect()
    }

    #[track_caller]
    fn decode(&self, tokens: &[i32]) -> Result<String> {
        let at = Location::caller();
        let character = |(i, &t): (usize, &i32)| {
            let found = usize::try_from(t).ok().and_then(|t| self.characters.get(t));
            found.copied().ok_or_else(|| outside(i, t, self.characters.len(), at))
        };
        tokens.iter().enumerate().map(character).collect()
    }
}

/// A long sequence of tokens, from which a language model's inputs and targets are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    tokens: Vec<i32>,
}

impl Tokens {
    /// A sequence.
    pub fn new(tokens: Vec<i32>) -> Self {
        Self { tokens }
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The first part, of `share` of the tokens, and the rest: training and held-out text.
    ///
    /// # Errors
    /// The share is not in 0..=1.
    pub fn split(&self, share: f64) -> Result<(Self, Self)> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::argument("Tokens::split", format!("the share is {share}"), "use one in 0..=1, such as 0.9"));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the length")]
        let at = ((self.len() as f64 * share) as usize).min(self.len());
        let (first, rest) = self.tokens.split_at(at);
        Ok((Self::new(first.to_vec()), Self::new(rest.to_vec())))
    }

    /// How many windows of `length` inputs and as many targets fit without overlap.
    pub fn windows(&self, length: usize) -> usize {
        self.len().saturating_sub(1).checked_div(length).unwrap_or(0)
    }

    /// The windows that start at `starts`: inputs and, one token later, targets, each I32 `[starts.len(), length]`.
    ///
    /// # Errors
    /// A window reaches past the end; the device is out of memory.
    #[track_caller]
    pub fn batch(&self, starts: &[usize], length: usize, device: &Device) -> Result<(Tensor, Tensor)> {
        let (mut inputs, mut targets) = (Vec::new(), Vec::new());
        for (position, &start) in starts.iter().enumerate() {
            let end = start.checked_add(length).filter(|&e| e < self.len());
            let Some(end) = end else {
                return Err(Error::Index {
                    op: "batch",
                    index: i64::try_from(start).unwrap_or(i64::MAX),
                    position,
                    len: self.len().saturating_sub(length),
                    help: format!("a window of {length} needs one more token as its last target: start earlier"),
                    at: Location::caller(),
                });
            };
            inputs.extend_from_slice(&self.tokens[start..end]);
            targets.extend_from_slice(&self.tokens[start + 1..=end]);
        }
        let shape = [starts.len(), length];
        Ok((Tensor::from_slice(&inputs, shape, device)?, Tensor::from_slice(&targets, shape, device)?))
    }

    /// `n` random starts of windows of `length` tokens; a function of the generator's seed and `step` alone.
    ///
    /// # Errors
    /// The text is too short for one window.
    pub fn draw(&self, n: usize, length: usize, generator: &Generator, step: u64) -> Result<Vec<usize>> {
        let Some(places) = self.len().checked_sub(length).filter(|&p| p > 0) else {
            let reason = format!("{} tokens are too few for a window of {length} and its last target", self.len());
            return Err(Error::argument("Tokens::draw", reason, "use a longer text or shorter windows"));
        };
        let count = u32::try_from(n).map_err(|_| {
            Error::argument("Tokens::draw", format!("{n} windows were asked for"), "draw at most 2^32 - 1 at a time")
        })?;
        let [step, beyond] = crate::rng::key(step);
        let key = crate::rng::far(crate::rng::key(generator.fork("windows").seed()), beyond);
        let mut starts = reserved("a draw of windows", n)?;
        starts.extend((0..count).map(|i| {
            // 64 random bits per window, so that the remainder's bias is below 2⁻³² for any text in memory.
            let [low, high] = crate::rng::threefry2x32(key, [i, step]);
            let word = u64::from(low) | u64::from(high) << 32;
            usize::try_from(word % places as u64).unwrap_or(0)
        }));
        Ok(starts)
    }
}

/// Reads a UTF-8 text file.
///
/// # Errors
/// The file cannot be read, or is no UTF-8.
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    String::from_utf8(bytes).map_err(|e| {
        let reason = format!("byte {} is no UTF-8", e.utf8_error().valid_up_to());
        Error::format(path, reason, "convert the file to UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_text() {
        let text = read_text("data/text/devils-dictionary.txt").unwrap();
        for tokenizer in [&CharTokenizer::of(&text).unwrap() as &dyn Tokenizer, &ByteTokenizer] {
            let tokens = tokenizer.encode(&text).unwrap();
            assert!(tokens.iter().all(|&t| usize::try_from(t).unwrap() < tokenizer.vocabulary()));
            assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
            assert!(tokenizer.decode(&[-1]).unwrap_err().to_string().contains("index -1"));
            assert!(tokenizer.decode(&[0, 256]).unwrap_err().to_string().contains("index 256 at position 1"));
        }
        assert!(CharTokenizer::of("").is_err());
    }

    #[test]
    fn unknown_characters_have_a_stand_in() {
        // stand-in -> its token, the vocabulary, the tokens of "xaby"
        let rows = [('?', 2, 3, [2, 0, 1, 2], "?ab?"), ('b', 1, 2, [1, 0, 1, 1], "babb")];
        for (stand_in, token, vocabulary, tokens, back) in rows {
            let tokenizer = CharTokenizer::of("abba").unwrap().with_unknown(stand_in);
            assert_eq!((tokenizer.unknown(), tokenizer.vocabulary()), (Some(token), vocabulary), "{stand_in}");
            assert_eq!(tokenizer.encode("xaby").unwrap(), tokens, "{stand_in}");
            assert_eq!(tokenizer.decode(&tokens).unwrap(), back, "{stand_in}");
        }
        assert_eq!(CharTokenizer::of("abba").unwrap().unknown(), None);
    }

    #[test]
    fn targets_are_one_token_later() {
        let device = Device::cpu().unwrap();
        let tokens = Tokens::new((0..10).collect());
        assert_eq!((tokens.windows(3), tokens.windows(9), tokens.windows(10), tokens.windows(0)), (3, 1, 0, 0));
        let (x, y) = tokens.batch(&[0, 6], 3, &device).unwrap();
        assert_eq!(x.to_vec::<i32>().unwrap(), [0, 1, 2, 6, 7, 8]);
        assert_eq!(y.to_vec::<i32>().unwrap(), [1, 2, 3, 7, 8, 9]);
        assert!(tokens.batch(&[7], 3, &device).is_err() && tokens.batch(&[usize::MAX], 3, &device).is_err());
        let generator = Generator::new(3);
        let draw = |step| tokens.draw(500, 9, &generator, step).unwrap();
        assert!(draw(0).iter().all(|&s| s == 0), "one window fits");
        let draw = |step| tokens.draw(500, 4, &generator, step).unwrap();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!((0..6).all(|s| draw(1).contains(&s)) && draw(1).iter().all(|&s| s < 6));
        assert!(tokens.draw(1, 10, &generator, 0).is_err());
        let (first, rest) = tokens.split(0.7).unwrap();
        assert_eq!((first.len(), rest.len()), (7, 3));
        assert!(tokens.split(1.5).is_err());
    }
}
