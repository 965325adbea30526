//! Sorted pairs of texts: the META and PROVENANCE sections.

use crate::bytes::{Cursor, Fault, Put, stored};
use std::collections::BTreeMap;
use std::collections::btree_map;
use std::str::FromStr;

/// Keys of the META section. Others may stand beside them.
pub mod key {
    /// What the model is for: `classify`, `detect`, `segment`, `embed`, ...
    pub const TASK: &str = "task";
    /// Names of the classes, in order, one a line.
    pub const LABELS: &str = "labels";
    /// `nchw` or `nhwc`: the order of the image input's dimensions.
    pub const LAYOUT: &str = "preprocess.layout";
    /// `HEIGHTxWIDTH` of the image input.
    pub const SIZE: &str = "preprocess.size";
    /// `rgb`, `bgr` or `gray`.
    pub const COLOR: &str = "preprocess.color";
    /// Factor on a byte pixel before the mean is subtracted: the input is `(pixel * scale - mean) / std`.
    pub const SCALE: &str = "preprocess.scale";
    /// Mean per channel, separated by commas.
    pub const MEAN: &str = "preprocess.mean";
    /// Standard deviation per channel, separated by commas.
    pub const STD: &str = "preprocess.std";
    /// `true`: the image keeps its proportions and is padded; `false`: it is stretched.
    pub const LETTERBOX: &str = "preprocess.letterbox";
    /// The model's licence, as an SPDX expression where there is one.
    pub const LICENCE: &str = "licence";
    /// Where the model comes from.
    pub const SOURCE: &str = "source";
    /// Who made the model.
    pub const AUTHOR: &str = "author";
    /// A sentence on the model.
    pub const DESCRIPTION: &str = "description";
}

/// Keys of the PROVENANCE section. Others may stand beside them.
pub mod provenance {
    /// Name of the source file, without its folder.
    pub const SOURCE_FILE: &str = "source.file";
    /// SHA-256 of the source file, in lower-case hexadecimal.
    pub const SOURCE_SHA256: &str = "source.sha256";
    /// SHA-256 over the calibration data in the order in which they were read.
    pub const CALIBRATION_SHA256: &str = "calibration.sha256";
    /// Name of the tool that wrote the file.
    pub const TOOL: &str = "tool";
    /// Its version.
    pub const TOOL_VERSION: &str = "tool.version";
    /// The options it was given.
    pub const OPTIONS: &str = "options";
    /// What equalization did to the channels of activations, for people.
    pub const EQUALIZATION: &str = "quant.equalization";
    /// The seed of whatever it drew at random.
    pub const SEED: &str = "seed";
}

/// A value is not of the form that its key asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata '{key}' is \"{value}\" where {want} is expected; correct it and convert the model again")]
pub struct MetaError {
    /// The key.
    pub key: String,
    /// What stands there.
    pub value: String,
    /// What should.
    pub want: &'static str,
}

/// Pairs of texts, sorted by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta(BTreeMap<String, String>);

impl Meta {
    /// No pairs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a value, replacing one that stood there.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.0.insert(key.into(), value.into());
        self
    }

    /// Sets a list of numbers, separated by commas; [`Meta::numbers`] gives exactly them back.
    pub fn set_numbers(&mut self, key: impl Into<String>, values: &[f32]) -> &mut Self {
        self.set(key, values.iter().map(f32::to_string).collect::<Vec<_>>().join(","))
    }

    /// The text of a key.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The lines of a text: [`key::LABELS`]. Empty when the key is missing.
    pub fn lines(&self, key: &str) -> Vec<&str> {
        self.text(key).map_or(Vec::new(), |text| text.lines().collect())
    }

    /// A finite number: [`key::SCALE`].
    pub fn number(&self, key: &str) -> Result<Option<f32>, MetaError> {
        self.parsed(key, "a finite number", finite)
    }

    /// Finite numbers separated by commas: [`key::MEAN`], [`key::STD`].
    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f32>>, MetaError> {
        self.parsed(key, "a list of finite numbers separated by commas", |text| {
            text.split(',').map(finite).collect()
        })
    }

    /// `true` or `false`: [`key::LETTERBOX`].
    pub fn flag(&self, key: &str) -> Result<Option<bool>, MetaError> {
        self.parsed(key, "\"true\" or \"false\"", |text| text.parse().ok())
    }

    /// Height and width, both above zero: [`key::SIZE`].
    pub fn size(&self, key: &str) -> Result<Option<[u32; 2]>, MetaError> {
        self.parsed(key, "HEIGHTxWIDTH", |text| {
            let (height, width) = text.split_once('x')?;
            let size = [height.parse().ok()?, width.parse().ok()?];
            (!size.contains(&0)).then_some(size)
        })
    }

    /// The pairs in ascending order of their keys.
    pub fn iter(&self) -> btree_map::Iter<'_, String, String> {
        self.0.iter()
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn parsed<T>(
        &self,
        key: &str,
        want: &'static str,
        f: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, MetaError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let error = || MetaError { key: key.to_owned(), value: text.to_owned(), want };
        f(text).map(Some).ok_or_else(error)
    }

    /// The section's bytes: count, reserved word, lengths of each key and value, then their texts in turn.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        out.put_u32(stored(self.len(), "pairs")?);
        out.put_u32(0);
        for (key, value) in self.iter() {
            if key.is_empty() {
                return Err("a pair with an empty key".into());
            }
            out.put_u32(stored(key.len(), "bytes of a key")?);
            out.put_u32(stored(value.len(), "bytes of a value")?);
        }
        for (key, value) in self.iter() {
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(value.as_bytes());
        }
        Ok(out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let mut head = Cursor::new(bytes, 0);
        let count = head.u32()?;
        head.unused(8)?;
        let mut lengths = head.clone();
        let table = (count as usize).checked_mul(8).ok_or_else(|| Fault::new(0, "too many pairs"))?;
        head.take(table)?;
        let mut texts = head;
        let mut pairs = BTreeMap::new();
        for _ in 0..count {
            let (key_bytes, value_bytes) = (lengths.u32()?, lengths.u32()?);
            let at = texts.at();
            let key = texts.text(key_bytes)?;
            if key.is_empty()
                || pairs.last_key_value().is_some_and(|(last, _): (&String, _)| last.as_str() >= key)
            {
                return Err(Fault::new(at, format!("key '{key}' is empty or not above the one before it")));
            }
            pairs.insert(key.to_owned(), texts.text(value_bytes)?.to_owned());
        }
        match texts.at() {
            at if at == bytes.len() => Ok(Self(pairs)),
            at => Err(Fault::new(at, format!("{} bytes follow the last value", bytes.len() - at))),
        }
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Meta {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

fn finite(text: &str) -> Option<f32> {
    f32::from_str(text.trim()).ok().filter(|v| v.is_finite())
}
