//! Where a window's taps fall, axis by axis.

use cygnet_format::op::Window;

/// One axis of a sliding window, in whichever direction it slides: output `j` of `outputs` reads, at tap `t`,
/// input `first + j * step + t * spacing`, and is stored at `out_first + j * out_step`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Axis {
    /// Extent of the input.
    pub input: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// Number of taps; a phase of a transposed convolution may have none.
    pub taps: usize,
    /// Input that output 0 reads at tap 0; negative in the padding.
    pub first: i64,
    /// Inputs from one output to the next.
    pub step: i64,
    /// Inputs from one tap to the next; negative in a transposed convolution.
    pub spacing: i64,
    /// Where output 0 is stored.
    pub out_first: usize,
    /// From one output to where the next is stored.
    pub out_step: usize,
}

impl Axis {
    /// An axis whose outputs read their own input and no other.
    pub fn identity(extent: usize) -> Self {
        Self {
            input: extent,
            outputs: extent,
            taps: 1,
            first: 0,
            step: 1,
            spacing: 1,
            out_first: 0,
            out_step: 1,
        }
    }

    /// Axis `axis` (0 down, 1 across) of a convolution's window over `input`, whose output has `output` elements.
    ///
    /// # Errors
    /// Says which parameter is zero, or what extent the window gives instead.
    pub fn of_window(window: &Window, axis: usize, input: usize, output: usize) -> Result<Self, String> {
        let name = ["height", "width"][axis];
        let (kernel, stride, dilation) = positive(window, axis)?;
        let (before, after) = (i64::from(window.pad[axis]), i64::from(window.pad[axis + 2]));
        // Parameters are below 2^32 and extents below 2^31, so that only the product needs care.
        let padded = input as i64 + before + after;
        let reach = (kernel - 1).checked_mul(dilation).map_or(i64::MAX, |r| r.saturating_add(1));
        if reach > padded {
            return Err(format!(
                "a window that spans {reach} does not fit the {name} {padded} of the padded input"
            ));
        }
        let gives = (padded - reach) / stride + 1;
        if gives != output as i64 {
            return Err(format!("the window gives the output {name} {gives}; the tensor's is {output}"));
        }
        Ok(Self {
            input,
            outputs: output,
            taps: kernel as usize,
            first: -before,
            step: stride,
            spacing: dilation,
            out_first: 0,
            out_step: 1,
        })
    }

    /// The input that output `j` reads at tap `t`, or none in the padding.
    pub fn at(&self, j: usize, t: usize) -> Option<usize> {
        let i = self.start(j) + t as i64 * self.spacing;
        // A negative position becomes one above every extent.
        ((i as u64) < self.input as u64).then_some(i as usize)
    }

    /// The input under tap 0 of output `j`, as if the input went on for ever.
    pub fn start(&self, j: usize) -> i64 {
        self.first + j as i64 * self.step
    }

    /// Whether every tap of output `j` is inside the input.
    pub fn inside(&self, j: usize) -> bool {
        let a = self.start(j);
        let b = a + (self.taps as i64 - 1) * self.spacing;
        a.min(b) >= 0 && a.max(b) < self.input as i64
    }

    /// The outputs of which every tap is inside the input.
    pub fn interior(&self) -> std::ops::Range<usize> {
        // Those from which the reach of the taps goes to both sides are one stretch: windows move one way.
        let start = (0..self.outputs).find(|&j| self.inside(j)).unwrap_or(self.outputs);
        let end = (start..self.outputs).find(|&j| !self.inside(j)).unwrap_or(self.outputs);
        start..end
    }

    /// Where output `j` is stored.
    pub fn out(&self, j: usize) -> usize {
        self.out_first + j * self.out_step
    }
}

/// One indirect product: a whole convolution, or one phase of a transposed one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub rows: Axis,
    pub cols: Axis,
    /// Bytes from the start of the packed weights to this product's.
    pub weights: usize,
    /// Elements from the start of the bias to this product's.
    pub bias: usize,
}

impl Product {
    /// Kernel positions.
    pub fn taps(&self) -> usize {
        self.rows.taps * self.cols.taps
    }

    /// Whether rows of `x` and `y` correspond one to one, in order.
    pub fn is_pointwise(&self) -> bool {
        self.rows == Axis::identity(self.rows.input) && self.cols == Axis::identity(self.cols.input)
    }
}

/// A pixel of a product: image, row and column of its output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pixel {
    pub image: usize,
    pub row: usize,
    pub col: usize,
}

impl Pixel {
    /// The pixel of an index, row by row.
    pub fn new(p: &Product, index: usize) -> Self {
        let (line, col) = (index / p.cols.outputs, index % p.cols.outputs);
        Self { image: line / p.rows.outputs, row: line % p.rows.outputs, col }
    }

    /// Goes on to the next one.
    pub fn step(&mut self, p: &Product) {
        self.col += 1;
        if self.col == p.cols.outputs {
            self.col = 0;
            self.row += 1;
            if self.row == p.rows.outputs {
                self.row = 0;
                self.image += 1;
            }
        }
    }
}

/// Kernel, stride and dilation of an axis, each at least 1.
pub(crate) fn positive(window: &Window, axis: usize) -> Result<(i64, i64, i64), String> {
    let values = [("kernel", window.kernel), ("stride", window.stride), ("dilation", window.dilation)];
    for (name, value) in values {
        if value[axis] == 0 {
            return Err(format!("{name} {value:?} has a zero; every extent must be at least 1"));
        }
    }
    let [kernel, stride, dilation] = values.map(|(_, v)| i64::from(v[axis]));
    Ok((kernel, stride, dilation))
}

/// Whether a window has one tap, on the element itself: its convolution is a product of rows with a matrix.
pub(crate) fn is_pointwise(window: &Window) -> bool {
    window.kernel == [1, 1] && window.stride == [1, 1] && window.pad == [0; 4]
}
