//! The part of the TensorFlow Lite schema (version 3) that the importer reads. Numbers in the accessors are field
//! ids of `schema.fbs`.

use super::flatbuf::{Result, Table};
use super::names;
use super::sparse::Sparsity;
use crate::graph::ElemType;

/// Most dimensions that a tensor may have: more than any operator takes.
const MAX_RANK: usize = 8;

/// A model: its buffers and its graphs.
#[derive(Debug)]
pub struct Model<'a> {
    buffers: Vec<Table<'a>>,
    /// What the model computes first, then graphs that operators name by index.
    pub graphs: Vec<Subgraph<'a>>,
    /// Name of the main graph, or what describes the model.
    pub name: String,
}

/// A graph: tensors, and operators in the order in which they run.
#[derive(Debug)]
pub struct Subgraph<'a> {
    /// Operators name them by index.
    pub tensors: Vec<TensorInfo<'a>>,
    /// Indices of the tensors that come from outside.
    pub inputs: Vec<i32>,
    /// Indices of the tensors that go outside.
    pub outputs: Vec<i32>,
    /// What computes.
    pub operators: Vec<Operator<'a>>,
}

impl<'a> Model<'a> {
    /// Reads the tables of a whole file.
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        let root = Table::root(bytes)?;
        let version = root.get(0, 0u32)?;
        if version != 3 {
            return Err(format!("its schema has version {version}, expected 3"));
        }
        let (graphs, codes) = (root.tables(2)?, root.tables(1)?);
        let name = graphs.first().ok_or("it holds no graph")?.string(4)?;
        Ok(Self {
            graphs: graphs.iter().map(|&t| Subgraph::read(t, &codes)).collect::<Result<_>>()?,
            buffers: root.tables(4)?,
            name: if name.is_empty() { root.string(3)? } else { name },
        })
    }

    /// The bytes of a buffer; empty for one that is filled at run time.
    pub fn buffer(&self, index: u32) -> Result<&'a [u8]> {
        let t = self
            .buffers
            .get(index as usize)
            .ok_or_else(|| format!("its buffer is number {index} of {}", self.buffers.len()))?;
        let (offset, size) = (t.get(1, 0u64)?, t.get(2, 0u64)?);
        if offset <= 1 {
            return t.bytes(0);
        }
        // Buffers of files above 2 GB stand behind the tables.
        let range = usize::try_from(offset).ok().zip(usize::try_from(size).ok());
        let found = range.and_then(|(o, n)| t.buffer().get(o..o.checked_add(n)?));
        found.ok_or_else(|| format!("its {size} bytes at byte {offset} run past the end of the file"))
    }
}

impl<'a> Subgraph<'a> {
    fn read(t: Table<'a>, codes: &[Table<'a>]) -> Result<Self> {
        let operators = t.tables(3)?;
        Ok(Self {
            tensors: t.tables(0)?.into_iter().map(TensorInfo).collect(),
            inputs: t.numbers(1)?,
            outputs: t.numbers(2)?,
            operators: operators
                .into_iter()
                .enumerate()
                .map(|(i, t)| operator(i, t, codes))
                .collect::<Result<_>>()?,
        })
    }
}

fn operator<'a>(index: usize, t: Table<'a>, codes: &[Table<'a>]) -> Result<Operator<'a>> {
    let at = t.get(0, 0u32)?;
    let code =
        codes.get(at as usize).ok_or_else(|| format!("operator {index} has code {at} of {}", codes.len()))?;
    // Files from before 2020 have the code in a byte, which newer ones keep filled for codes below 127.
    let builtin = code.get(3, 0i32)?.max(i32::from(code.get(0, 0i8)?));
    let name = match names::name(builtin) {
        Some("CUSTOM") => code.string(1)?,
        Some(name) => name.to_owned(),
        None => format!("builtin {builtin}"),
    };
    Ok(Operator {
        index,
        custom: names::name(builtin) == Some("CUSTOM"),
        name,
        inputs: t.numbers(1)?,
        outputs: t.numbers(2)?,
        options: t.table(4)?,
        more_options: t.table(12)?,
        custom_options: t.bytes(5)?,
    })
}

/// A tensor as the file describes it.
#[derive(Clone, Copy, Debug)]
pub struct TensorInfo<'a>(Table<'a>);

impl TensorInfo<'_> {
    /// Name, possibly empty or shared with other tensors.
    pub fn name(&self) -> Result<String> {
        self.0.string(3)
    }

    /// Dimensions, with 1 in place of open ones.
    pub fn dims(&self) -> Result<Vec<usize>> {
        let dims: Vec<i32> = self.0.numbers(0)?;
        let sizes: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
        let sizes = sizes.filter(|d| d.len() <= MAX_RANK);
        sizes.ok_or_else(|| format!("it has dimensions {:?}", &dims[..dims.len().min(MAX_RANK + 1)]))
    }

    /// Which dimensions the model leaves open.
    pub fn open(&self) -> Result<Vec<bool>> {
        let dims = self.dims()?;
        let signature: Vec<i32> = self.0.numbers(7)?;
        Ok((0..dims.len()).map(|i| signature.get(i).is_some_and(|&d| d < 0)).collect())
    }

    /// Element type; the error names one that has no counterpart.
    pub fn elem(&self) -> Result<ElemType> {
        elem_type(self.0.get(1, 0i8)?)
    }

    /// Index of the buffer with the elements.
    pub fn buffer(&self) -> Result<u32> {
        self.0.get(2, 0u32)
    }

    /// Whether the tensor keeps its value from run to run.
    pub fn is_variable(&self) -> Result<bool> {
        self.0.get(5, false)
    }

    /// Where the elements that the file holds belong; `None` when it holds all of them.
    pub fn sparsity(&self) -> Result<Option<Sparsity>> {
        self.0.table(6)?.map(Sparsity::read).transpose()
    }

    /// How many bits of a byte each element takes, for those that take less than one.
    pub fn packed_bits(&self) -> Result<Option<u32>> {
        Ok(packed_bits(self.0.get(1, 0i8)?))
    }

    /// How integers of the tensor stand for real numbers; `None` when they do not.
    pub fn quantization(&self) -> Result<Option<Quantization>> {
        let Some(t) = self.0.table(4)? else { return Ok(None) };
        let scale: Vec<f32> = t.numbers(2)?;
        if scale.is_empty() || self.elem()?.is_float() {
            return Ok(None);
        }
        Ok(Some(Quantization { scale, zero_point: t.numbers(3)?, axis: t.get(6, 0i32)? }))
    }
}

/// `real = scale * (integer - zero_point)`, with one scale for all elements or one per index of `axis`.
#[derive(Clone, Debug)]
pub struct Quantization {
    /// One or more.
    pub scale: Vec<f32>,
    /// As many, or none for zeros.
    pub zero_point: Vec<i64>,
    /// The dimension along which scales differ.
    pub axis: i32,
}

/// An operator as the file describes it.
#[derive(Debug)]
pub struct Operator<'a> {
    /// Its place in the main graph.
    pub index: usize,
    /// Name of the builtin operator, or of the custom one.
    pub name: String,
    /// Whether it is a custom operator.
    pub custom: bool,
    /// Indices of tensors; -1 for an optional one that is left out.
    pub inputs: Vec<i32>,
    /// Indices of tensors.
    pub outputs: Vec<i32>,
    /// The options of a builtin operator.
    pub options: Option<Table<'a>>,
    /// Those of an operator that has them in the second union.
    pub more_options: Option<Table<'a>>,
    /// The options of a custom operator.
    pub custom_options: &'a [u8],
}

/// Bits of an element of the type with this number in `TensorType`: `INT4`, `INT2`, `UINT4`.
fn packed_bits(number: i8) -> Option<u32> {
    match number {
        17 | 20 => Some(4),
        19 => Some(2),
        _ => None,
    }
}

/// The element type with this number in `TensorType`; the smaller ones are held in bytes.
pub fn elem_type(number: i8) -> Result<ElemType> {
    Ok(match number {
        0 => ElemType::F32,
        1 => ElemType::F16,
        2 => ElemType::I32,
        3 => ElemType::U8,
        4 => ElemType::I64,
        6 => ElemType::Bool,
        7 => ElemType::I16,
        9 => ElemType::I8,
        10 => ElemType::F64,
        12 => ElemType::U64,
        15 => ElemType::U32,
        16 => ElemType::U16,
        18 => ElemType::BF16,
        5 => return Err("it holds strings, which are not supported".to_owned()),
        8 | 11 => return Err("it holds complex numbers, which are not supported".to_owned()),
        13 | 14 => return Err("it is a resource, which is not supported".to_owned()),
        17 | 19 => ElemType::I8,
        20 => ElemType::U8,
        other => return Err(format!("its element type has number {other}, which is not supported")),
    })
}
