//! The header of a safetensors file: JSON that names the tensors and says where each one's bytes are. It is read once, piece by
//! piece, and whatever it says takes no more memory than its own length suggests.

use super::seal;
use super::stored::Stored;
use crate::shape::{MAX_RANK, Shape};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// The key of the notes among the tensors' names.
pub const NOTES: &str = "__metadata__";
/// The most bytes of a header, for readers and writers: 100 or more for each of the most tensors.
pub const MOST_BYTES: usize = 16 << 20;
/// The most tensors.
pub const MOST_TENSORS: usize = 100_000;
/// The most notes.
pub const MOST_NOTES: usize = 10_000;
/// The most characters of an error that quotes the header.
const MOST_QUOTED: usize = 200;

/// A tensor, and where its bytes are.
pub struct Entry {
    pub name: String,
    pub dtype: Stored,
    pub shape: Shape,
    /// The first byte of the data, and the one after the last.
    pub bytes: [u64; 2],
}

/// What a header says.
#[derive(Default)]
pub struct Header {
    pub notes: BTreeMap<String, String>,
    /// In the order of their bytes.
    pub entries: Vec<Entry>,
}

/// Text, cut to a length that a person may read.
fn quoted(text: &str) -> String {
    text.chars().take(MOST_QUOTED).collect()
}

/// Reads a header whose data have `len` bytes.
///
/// # Errors
/// What is wrong, in words: no JSON, or not that of a safetensors file; too many tensors, notes or axes; bytes that overlap, leave
/// gaps, do not fit the shape, or are not in the file.
#[track_caller]
pub fn parse(text: &[u8], len: u64) -> Result<Header, String> {
    if !text.starts_with(b"{") {
        return Err("the header does not begin with {".into());
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = json.deserialize_any(Header::default()).and_then(|header| json.end().map(|()| header));
    let mut header = read.map_err(|e| quoted(&e.to_string()))?;
    header.notes.remove(seal::KEY);
    let entries = &mut header.entries;
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    if let Some((twice, _)) = entries.iter().zip(entries.iter().skip(1)).find(|(a, b)| a.name == b.name) {
        return Err(format!("two tensors have the name \"{}\"", quoted(&twice.name)));
    }
    entries.sort_by_key(|entry| entry.bytes);
    let mut end = 0;
    for Entry { name, dtype, shape, bytes } in entries.iter() {
        let name = quoted(name);
        if bytes[0] != end || bytes[1] < bytes[0] {
            return Err(format!("tensor \"{name}\" has the bytes {} to {}, and {end} come before", bytes[0], bytes[1]));
        }
        end = bytes[1];
        // Other types are refused by name.
        let Some(width) = dtype.width() else { continue };
        if (shape.numel() as u64).checked_mul(width) != Some(bytes[1] - bytes[0]) {
            return Err(format!("tensor \"{name}\" is {dtype} {shape}, and has {} bytes", bytes[1] - bytes[0]));
        }
    }
    if end != len {
        return Err(format!("the tensors have {end} bytes, and the file has {len} for them"));
    }
    Ok(header)
}

/// Methods of a visitor that refuses texts without repeating them: they may be as long as the header.
macro_rules! no_texts {
    ($what:literal) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str($what)
        }

        fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Self::Value, E> {
            Err(E::custom(concat!("a text in the place of ", $what)))
        }
    };
}

impl<'de> Visitor<'de> for Header {
    type Value = Self;
    no_texts!("an object");

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        let mut noted = false;
        while let Some(name) = map.next_key_seed(Text)? {
            if name == NOTES {
                if std::mem::replace(&mut noted, true) {
                    return Err(A::Error::custom("there are notes twice"));
                }
                self.notes = map.next_value_seed(Notes)?;
                continue;
            }
            if self.entries.len() == MOST_TENSORS {
                return Err(A::Error::custom(format!("there are more than {MOST_TENSORS} tensors")));
            }
            let info = map.next_value_seed(Info);
            let (dtype, shape, bytes) =
                info.map_err(|e| A::Error::custom(format!("tensor \"{}\": {e}", name.chars().take(60).collect::<String>())))?;
            self.entries.push(Entry { name, dtype, shape, bytes });
        }
        Ok(self)
    }
}

/// A text.
struct Text;

impl Visitor<'_> for Text {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }
    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// The notes; `null` stands for none.
struct Notes;

impl<'de> Visitor<'de> for Notes {
    type Value = BTreeMap<String, String>;
    no_texts!("notes");

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut notes = BTreeMap::new();
        while let Some(key) = map.next_key_seed(Text)? {
            // One more for the checksum.
            if notes.len() > MOST_NOTES {
                return Err(A::Error::custom(format!("there are more than {MOST_NOTES} notes")));
            }
            if notes.insert(key, map.next_value_seed(Text)?).is_some() {
                return Err(A::Error::custom("two notes have one name"));
            }
        }
        Ok(notes)
    }
}

/// What is said of a tensor. Fields that nobody knows are skipped.
struct Info;

impl<'de> Visitor<'de> for Info {
    type Value = (Stored, Shape, [u64; 2]);
    no_texts!("a tensor");

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut dtype, mut shape, mut bytes) = (None, None, None);
        while let Some(field) = map.next_key_seed(FieldName)? {
            let twice = match field {
                Field::DType => dtype.replace(map.next_value_seed(Kind)?).is_some(),
                Field::Shape => shape.replace(map.next_value_seed(Numbers::<MAX_RANK>)?).is_some(),
                Field::Offsets => bytes.replace(map.next_value_seed(Numbers::<2>)?).is_some(),
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                    false
                }
            };
            if twice {
                return Err(A::Error::custom("a tensor has a field twice"));
            }
        }
        let (Some(dtype), Some((dims, rank)), Some((bytes, 2))) = (dtype, shape, bytes) else {
            return Err(A::Error::custom("a tensor has no dtype, no shape or no pair of data_offsets"));
        };
        let dims = dims.into_iter().take(rank).map(|d| usize::try_from(d).map_err(|_| A::Error::custom("an axis is too long")));
        let shape = Shape::new(&dims.collect::<Result<Vec<_>, _>>()?).map_err(|e| A::Error::custom(e.to_string()))?;
        Ok((dtype, shape, bytes))
    }
}

/// A field of a tensor.
enum Field {
    DType,
    Shape,
    Offsets,
    Other,
}

/// The name of a field.
struct FieldName;

impl Visitor<'_> for FieldName {
    type Value = Field;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field")
    }
    fn visit_str<E>(self, name: &str) -> Result<Field, E> {
        Ok(match name {
            "dtype" => Field::DType,
            "shape" => Field::Shape,
            "data_offsets" => Field::Offsets,
            _ => Field::Other,
        })
    }
}

/// The name of an element type.
struct Kind;

impl Visitor<'_> for Kind {
    type Value = Stored;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a dtype")
    }
    fn visit_str<E>(self, name: &str) -> Result<Stored, E> {
        Ok(Stored::of_name(name))
    }
}

/// At most `N` numbers, and how many there are.
struct Numbers<const N: usize>;

impl<'de, const N: usize> Visitor<'de> for Numbers<N> {
    type Value = ([u64; N], usize);
    no_texts!("a list of numbers");

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut numbers, mut len) = ([0; N], 0);
        while let Some(number) = list.next_element_seed(Number)? {
            let Some(place) = numbers.get_mut(len) else {
                return Err(A::Error::custom(format!("a list has more than {N} numbers")));
            };
            *place = number;
            len += 1;
        }
        Ok((numbers, len))
    }
}

/// A whole number, at least 0.
struct Number;

impl Visitor<'_> for Number {
    type Value = u64;
    no_texts!("a whole number");

    fn visit_u64<E>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }
}

/// Visitors as seeds. They see whatever is there: a request for a certain kind would fail with a copy of a text that is there
/// instead.
macro_rules! seeds {
    ($($visitor:ty $(, $n:ident)?;)*) => {$(
        impl<'de $(, const $n: usize)?> DeserializeSeed<'de> for $visitor {
            type Value = <Self as Visitor<'de>>::Value;
            fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
                d.deserialize_any(self)
            }
        }
    )*};
}

seeds! {
    Text;
    Notes;
    Info;
    FieldName;
    Kind;
    Numbers<N>, N;
    Number;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_json_is() {
        let text = br#"{"b":{"shape":[2,1],"dtype":"F32","new":[{}],"data_offsets":[1,9]},"\u0061":{"dtype":"U8","shape":[],"data_offsets":[0,1]},
            "__metadata__":{"k":"v\n", "wgrad.checksum":"none"}}   "#;
        let header = parse(text, 9).unwrap();
        assert_eq!(header.notes, BTreeMap::from([("k".to_owned(), "v\n".to_owned())]));
        let names: Vec<&str> = header.entries.iter().map(|e| e.name.as_str()).collect();
        assert_eq!((names, header.entries[1].shape.dims()), (vec!["a", "b"], &[2, 1][..]));
        for good in ["{}", r#"{"__metadata__":null}"#, r#"{"a":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]}}"#] {
            assert!(parse(good.as_bytes(), 0).is_ok(), "{good}");
        }
    }

    #[test]
    fn whatever_is_no_header_is_refused_in_few_words() {
        let long = "x".repeat(100_000);
        let tensor = |fields: &str| format!("{{\"w\":{{{fields}}}}}");
        let rest = r#""dtype":"F32","data_offsets":[0,4]"#;
        let many = |n: usize, part: &str| (0..n).map(|i| part.replace('@', &i.to_string())).collect::<Vec<_>>().join(",");
        let rows = [
            (String::new(), "begin with {"),
            ("[1]".into(), "begin with {"),
            ("{".into(), "EOF"),
            ("{} x".into(), "trailing"),
            (format!("{{\"w\":\"{long}\"}}"), "a text in the place of a tensor"),
            (tensor(&format!("\"shape\":\"{long}\",{rest}")), "a text in the place of a list"),
            (tensor(&format!("\"shape\":[\"{long}\"],{rest}")), "a text in the place of a whole number"),
            (tensor(&format!("\"shape\":[1,-1],{rest}")), "invalid type: integer `-1`"),
            (tensor(&format!("\"shape\":[1e3],{rest}")), "floating point"),
            (tensor(&format!("\"shape\":[{}],{rest}", many(10_000, "1"))), "more than 8 numbers"),
            (tensor(&format!("\"shape\":[1],\"shape\":[1],{rest}")), "a field twice"),
            (tensor(r#""dtype":"F32","shape":[1]"#), "no pair of data_offsets"),
            (tensor(r#""dtype":"F32","shape":[1],"data_offsets":[0]"#), "no pair of data_offsets"),
            (tensor(r#""dtype":"F32","shape":[2],"data_offsets":[0,4]"#), "has 4 bytes"),
            (tensor(r#""dtype":"F32","shape":[1],"data_offsets":[4,0]"#), "the bytes 4 to 0"),
            (tensor(r#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#), "the file has 4"),
            (tensor(&format!("\"shape\":[{}],{rest}", u64::MAX)), "w"),
            (format!("{{\"__metadata__\":{{\"a\":1}},\"w\":{{{rest}}}}}"), "invalid type"),
            (format!("{{\"__metadata__\":\"{long}\"}}"), "a text in the place of notes"),
            (r#"{"__metadata__":{"a":"1","a":"2"}}"#.into(), "two notes"),
            (r#"{"__metadata__":{},"__metadata__":{}}"#.into(), "notes twice"),
            (format!("{{\"__metadata__\":{{{}}}}}", many(MOST_NOTES + 2, "\"@\":\"\"")), "more than 10000 notes"),
            (
                format!("{{{}}}", many(MOST_TENSORS + 1, r#""@":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#)),
                "more than 100000 tensors",
            ),
            (format!("{{\"w\":{}", "[".repeat(100_000)), "w"),
            (format!("{{\"w\":{{\"new\":{}", "[".repeat(100_000)), "EOF"),
            (
                format!("{{{0},{0}}}", format!("\"{long}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}")),
                "two tensors have the name",
            ),
        ];
        for (text, expected) in rows {
            let reason = parse(text.as_bytes(), 4).err().unwrap_or_else(|| panic!("{expected}: {}", quoted(&text)));
            assert!(reason.contains(expected) && reason.len() < 400, "{expected}: {}", quoted(&reason));
        }
    }
}
