//! Text: byte and character tokenisers, and windows of tokens for language models.

use super::dataset::{Dataset, outside};
use super::split::Portion;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::host::reserved;
use crate::rng::Generator;
use crate::source;
use crate::tensor::Tensor;
use std::collections::{BTreeSet, HashMap};
use std::panic::Location;
use std::path::Path;
use std::sync::Arc;

/// Text to token numbers and back.
pub trait Tokenizer {
    /// How many tokens there are; they are numbered from 0.
    fn vocabulary(&self) -> usize;

    /// The tokens of a text.
    ///
    /// # Errors
    /// The text has a part that no token stands for.
    #[track_caller]
    fn encode(&self, text: &str) -> Result<Vec<i32>>;

    /// The text of tokens.
    ///
    /// # Errors
    /// A token is outside the vocabulary.
    #[track_caller]
    fn decode(&self, tokens: &[i32]) -> Result<String>;
}

/// The error for a token that is not in the vocabulary.
fn unknown(position: usize, token: i32, len: usize, at: &'static Location<'static>) -> Error {
    let help = "use tokens that this tokeniser has made, or a model with its vocabulary".into();
    Error::Index { op: "decode", index: i64::from(token), position, len, help, at }
}

/// One token per byte of UTF-8: 256 tokens, and any text can be encoded. What is not UTF-8 decodes to `�`.
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
        let byte = |(i, &t)| u8::try_from(t).map_err(|_| unknown(i, t, 256, at));
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
    #[track_caller]
    pub fn of(text: &str) -> Result<Self> {
        let characters: Vec<char> = text.chars().collect::<BTreeSet<_>>().into_iter().collect();
        if characters.is_empty() {
            return Err(Error::argument("CharTokenizer::of", "the text is empty", "give the training text"));
        }
        let numbers = characters.iter().copied().zip(0..).collect();
        Ok(Self { characters, numbers, unknown: None })
    }

    /// Characters that are not in the vocabulary become `stand_in`, which is added as the last token if it is not there yet. So a
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

    /// The token for characters that are not in the vocabulary, if there is one.
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

    #[track_caller]
    fn encode(&self, text: &str) -> Result<Vec<i32>> {
        let mut tokens = Vec::with_capacity(text.len());
        for (i, c) in text.chars().enumerate() {
            let Some(token) = self.numbers.get(&c).copied().or(self.unknown) else {
                let reason = format!("the character {c:?} at position {i} is not in the vocabulary");
                let help = "leave the character out, or set a stand-in: with_unknown";
                return Err(Error::argument("encode", reason, help));
            };
            tokens.push(token);
        }
        Ok(tokens)
    }

    #[track_caller]
    fn decode(&self, tokens: &[i32]) -> Result<String> {
        let at = Location::caller();
        let character = |(i, &t): (usize, &i32)| {
            let found = usize::try_from(t).ok().and_then(|t| self.characters.get(t));
            found.copied().ok_or_else(|| unknown(i, t, self.characters.len(), at))
        };
        tokens.iter().enumerate().map(character).collect()
    }
}

/// A long sequence of tokens, from which a language model's inputs and targets are cut. Clones share the tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    tokens: Arc<[i32]>,
}

impl Tokens {
    /// A sequence.
    pub fn new(tokens: Vec<i32>) -> Self {
        Self { tokens: tokens.into() }
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Parts in the order of the text, such as training and held-out text, whose sizes are shares that add up to 1 or counts that
    /// add up to the number of tokens.
    ///
    /// ```
    /// # use wgrad::data::Tokens;
    /// let [train, held_out] = Tokens::new((0..10).collect()).split([0.9, 0.1])?;
    /// assert_eq!((train.len(), held_out.len()), (9, 1));
    /// # Ok::<(), wgrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`split`](super::split).
    #[track_caller]
    pub fn split<P: Portion, const N: usize>(&self, portions: [P; N]) -> Result<[Self; N]> {
        let mut start = 0;
        let parts = P::counts(&portions, self.len())?.into_iter().map(|count| {
            start += count;
            Self { tokens: self.tokens[start - count..start].into() }
        });
        let parts: Vec<Self> = parts.collect();
        parts.try_into().map_err(|_| Error::internal("a split has a different number of parts than was asked for"))
    }

    /// Windows of `length` inputs and, one token later, as many targets, one after the other without overlap; see
    /// [`Windows::stride`].
    ///
    /// # Errors
    /// `length` is 0.
    #[track_caller]
    pub fn windows(&self, length: usize) -> Result<Windows> {
        if length == 0 {
            return Err(Error::argument("Tokens::windows", "windows of 0 tokens were asked for", "use at least 1"));
        }
        Ok(Windows { tokens: self.clone(), length, stride: length })
    }
}

/// Windows of [`Tokens`] as a [`Dataset`] for language models: samples are inputs and targets of `length` tokens, batches two I32
/// tensors `[n, length]`.
///
/// ```
/// # use wgrad::data::{Dataset, Tokens};
/// # fn main() -> wgrad::Result<()> {
/// let windows = Tokens::new((0..10).collect()).windows(3)?;
/// assert_eq!((windows.len(), windows.get(1)?), (3, (vec![3, 4, 5], vec![4, 5, 6])));
/// assert_eq!(windows.stride(1)?.len(), 7);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    tokens: Tokens,
    length: usize,
    stride: usize,
}

impl Windows {
    /// Tokens from the start of one window to that of the next. Defaults to `length`; with 1 a window starts at every token that
    /// has enough others after it.
    ///
    /// # Errors
    /// `stride` is 0.
    #[track_caller]
    pub fn stride(self, stride: usize) -> Result<Self> {
        if stride == 0 {
            return Err(Error::argument("Windows::stride", "a stride of 0 tokens was asked for", "use at least 1"));
        }
        Ok(Self { stride, ..self })
    }

    /// The indices of `n` windows at random, with repetition; a function of only the generator's seed and `step`.
    ///
    /// # Errors
    /// The text is too short for one window.
    #[track_caller]
    pub fn draw(&self, n: usize, generator: &Generator, step: usize) -> Result<Vec<usize>> {
        let places = self.len();
        if places == 0 {
            let reason = format!("{} tokens are too few for a window of {} and its last target", self.tokens.len(), self.length);
            return Err(Error::argument("Windows::draw", reason, "use a longer text or shorter windows"));
        }
        let Ok(count) = u32::try_from(n) else {
            let reason = format!("{n} windows were asked for");
            return Err(Error::argument("Windows::draw", reason, "draw at most 2^32 - 1 at a time"));
        };
        let [step, beyond] = crate::rng::key(step as u64);
        let key = crate::rng::far(crate::rng::key(generator.fork("windows").seed()), beyond);
        let mut drawn = reserved("a draw of windows", n)?;
        drawn.extend((0..count).map(|i| {
            // 64 random bits per window, so that the remainder's bias is below 2⁻³² for any text in memory.
            let [low, high] = crate::rng::threefry2x32(key, [i, step]);
            let word = u64::from(low) | u64::from(high) << 32;
            usize::try_from(word % places as u64).unwrap_or(0)
        }));
        Ok(drawn)
    }

    /// Inputs and targets of window `index`, which is at `position` of a list.
    #[track_caller]
    fn at(&self, op: &'static str, position: usize, index: usize) -> Result<(&[i32], &[i32])> {
        let at = Location::caller();
        if index >= self.len() {
            return Err(outside(op, index, position, self.len(), at));
        }
        // Within the text, as the index is.
        let start = index * self.stride;
        let window = &self.tokens.tokens[start..=start + self.length];
        Ok((&window[..self.length], &window[1..]))
    }
}

impl Dataset for Windows {
    type Sample = (Vec<i32>, Vec<i32>);

    /// The number of windows: `(tokens - 1 - length) / stride + 1`, or 0.
    fn len(&self) -> usize {
        let last = self.tokens.len().checked_sub(1).and_then(|n| n.checked_sub(self.length));
        last.map_or(0, |last| last / self.stride + 1)
    }

    fn get(&self, index: usize) -> Result<(Vec<i32>, Vec<i32>)> {
        self.at("get", 0, index).map(|(inputs, targets)| (inputs.to_vec(), targets.to_vec()))
    }

    #[track_caller]
    fn batch(&self, indices: &[usize], device: &Device) -> Result<(Tensor, Tensor)> {
        let (mut inputs, mut targets) = (Vec::new(), Vec::new());
        for (position, &index) in indices.iter().enumerate() {
            let (x, y) = self.at("batch", position, index)?;
            inputs.extend_from_slice(x);
            targets.extend_from_slice(y);
        }
        let shape = [indices.len(), self.length];
        Ok((Tensor::from_slice(&inputs, shape, device)?, Tensor::from_slice(&targets, shape, device)?))
    }
}

/// Reads a UTF-8 text file as it stands: line ends of two characters stay, which [`str::lines`] knows.
///
/// # Errors
/// The file cannot be read, is not a regular file, or is not UTF-8.
#[track_caller]
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let bytes = source::read(path)?;
    String::from_utf8(bytes).map_err(|e| {
        let reason = format!("byte {} is not UTF-8", e.utf8_error().valid_up_to());
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
        let windows = |length| tokens.windows(length).unwrap();
        assert_eq!((windows(3).len(), windows(9).len(), windows(10).len()), (3, 1, 0));
        assert!(tokens.windows(0).is_err() && windows(3).stride(0).is_err());
        let all = |length| windows(length).stride(1).unwrap();
        let (x, y) = all(3).batch(&[0, 6], &device).unwrap();
        assert_eq!(x.to_vec::<i32>().unwrap(), [0, 1, 2, 6, 7, 8]);
        assert_eq!(y.to_vec::<i32>().unwrap(), [1, 2, 3, 7, 8, 9]);
        assert_eq!(windows(3).get(2).unwrap(), (vec![6, 7, 8], vec![7, 8, 9]));
        assert!(all(3).batch(&[7], &device).is_err() && all(3).batch(&[usize::MAX], &device).is_err());
        let generator = Generator::new(3);
        let draw = |step| all(9).draw(500, &generator, step).unwrap();
        assert!(draw(0).iter().all(|&s| s == 0), "one window fits");
        let draw = |step| all(4).draw(500, &generator, step).unwrap();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!((0..6).all(|s| draw(1).contains(&s)) && draw(1).iter().all(|&s| s < 6));
        assert!(all(10).draw(1, &generator, 0).is_err());
        let [first, rest] = tokens.split([0.7, 0.3]).unwrap();
        assert_eq!((first.len(), &rest.tokens[..]), (7, &[7, 8, 9][..]));
        assert!(tokens.split([1.5, -0.5]).is_err());
    }
}
