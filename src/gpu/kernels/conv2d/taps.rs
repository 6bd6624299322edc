//! Weight gradients: a thread sums the taps between some channels, along rows of both images.

use super::common::{lanes, vector, width};
use crate::error::Result;
use crate::gpu::kernels::epilogue::{Epilogue, split_sum};
use crate::gpu::kernels::source::{MAX_LOOP, check_loops, record_len, word};
use crate::gpu::program::{Caps, Lowered, Operand, Program};
use crate::gpu::shader::Shader;
use crate::plan::{Conv2d, Plan, Step};

/// A weight gradient: how a thread walks along rows of both images.
pub(super) struct Taps<'a> {
    conv: &'a Conv2d,
    /// Channels of a group of either side.
    ic: usize,
    oc: usize,
    /// Taps of a kernel row that are unrolled: all of them or one.
    unrolled: usize,
    /// Elements of a vector that is read.
    vector: usize,
    /// Neighbouring pixels that a thread takes at once.
    pixels: usize,
    /// Elements in front of a row, and how many of them the first vector reads needlessly.
    lead: usize,
    shift: usize,
    /// Vectors of the input that these pixels meet.
    window: usize,
}

impl<'a> Taps<'a> {
    pub fn of(conv: &'a Conv2d, caps: &Caps) -> Self {
        let spec = &conv.spec;
        let (kw, ow) = (conv.w[3], conv.y[3]);
        let unrolled = if kw <= 5 { kw } else { 1 };
        // Taps that are not unrolled start anywhere, so their rows cannot be read in vectors.
        let vector = if unrolled == kw { width(&[conv.x[3], ow]) } else { 1 };
        let pixels = if vector > 1 {
            vector
        } else {
            [7, 5, 4, 3].into_iter().find(|p| ow % p == 0 && p * unrolled <= caps.unrolled).unwrap_or(ow.min(4))
        };
        let lead = spec.padding[1].next_multiple_of(vector);
        let shift = lead - spec.padding[1];
        let window = (shift + (pixels - 1) * spec.stride[1] + (unrolled - 1) * spec.dilation[1] + 1).div_ceil(vector);
        let (ic, oc) = (conv.w[1], conv.y[1] / spec.groups);
        Self { conv, ic, oc, unrolled, vector, pixels, lead, shift, window }
    }

    /// As many channels of the output and the input as the bound on unrolled text allows; their loads are in the text, too.
    pub fn select(&self, caps: &Caps) -> [usize; 2] {
        let widest = self.ic.min(if self.unrolled <= 2 { 8 } else { 4 });
        let inputs = widest.min((caps.unrolled / (self.unrolled * self.pixels + self.window)).max(1));
        let (sums, products) = (inputs * self.unrolled, inputs * self.unrolled * self.pixels);
        let most = (96 / sums).min(caps.unrolled / products).max(1);
        let outputs = [8, 4, 2].into_iter().find(|&t| t <= most).unwrap_or(1).min(self.oc);
        [outputs, inputs]
    }

    /// Rows that a thread takes, and how many such parts there are: enough threads to fill the device, and at least some rows
    /// each.
    fn parts(&self, tiles: usize, caps: &Caps) -> Result<[usize; 2]> {
        let rows = self.conv.x[0] * self.conv.y[2];
        let wanted: usize = if caps.software { 512 } else { 16_384 };
        let splits = wanted.div_ceil(tiles).min(rows.div_ceil(4)).max(1);
        // A thread walks a part of the rows, and all columns of each.
        let row_loops = 1 + self.conv.y[3].div_ceil(self.pixels.max(1));
        check_loops("conv2d_wgrad", row_loops, caps)?;
        let part = rows.div_ceil(splits).min(MAX_LOOP / row_loops).max(1);
        Ok([part, rows.div_ceil(part).max(1)])
    }

    fn shader(&self, [to, ti]: [usize; 2], record: usize, caps: &Caps) -> Shader {
        let (conv, spec, v) = (self.conv, &self.conv.spec, self.vector);
        let [sx, dx] = [spec.stride[1], spec.dilation[1]];
        // A step moves the window by `pixels * sx` elements.
        let keep = self.window.saturating_sub(self.pixels * sx / v);
        Shader::new()
            .set("RECORD", record_len(record))
            .set("GROUPS", spec.groups)
            .set("IC", self.ic)
            .set("OC", self.oc)
            .set("IH", conv.x[2])
            .set("IW", conv.x[3])
            .set("OH", conv.y[2])
            .set("OW", conv.y[3])
            .set("KH", conv.w[2])
            .set("KW", conv.w[3])
            .set("OT", self.oc.div_ceil(to))
            .set("IT", self.ic.div_ceil(ti))
            .set("TO", to)
            .set("TI", ti)
            .set("KU", self.unrolled)
            .set("P", self.pixels)
            .set("PV", self.pixels / v)
            .set("V", v)
            .set("X_TYPE", vector(v))
            .set("NW", self.window)
            .set("KEEP", keep)
            .set("KEPT", keep * v)
            .set("MOVE", self.pixels * sx)
            .set("LEAD", self.lead)
            .set("SHIFT", self.shift)
            .set("KW_MOVES", usize::from(self.unrolled != conv.w[3]))
            .set("GUARD", usize::from(conv.y[3] % self.pixels != 0))
            .set("SY", spec.stride[0])
            .set("SX", sx)
            .set("DY", spec.dilation[0])
            .set("DX", dx)
            .set("PY", spec.padding[0])
            .set("SHORT", usize::from(caps.short_texts()))
            .set("LANES", lanes(caps))
    }

    /// The programs for this many channels of the output and the input, or as many as there are.
    pub fn lower(&self, [to, ti]: [usize; 2], step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
        let (conv, to, ti) = (self.conv, to.min(self.oc), ti.min(self.ic));
        let channels = self.oc.div_ceil(to) * self.ic.div_ceil(ti) * conv.spec.groups;
        let tiles = channels * conv.w[2] * (conv.w[3] / self.unrolled);
        let [part, splits] = self.parts(tiles, caps)?;
        let threads = tiles * splits;
        let (rows, len) = (conv.x[0] * conv.y[2], conv.w.iter().product::<usize>());
        let direct = splits == 1 && conv.epilogue.is_identity();
        let record = vec![word(threads), word(rows), word(part), word(len)];
        let source = Epilogue::none().fill(self.shader([to, ti], record.len(), caps), 1).render("conv2d_wgrad")?;
        let target = if direct { Operand::Write } else { Operand::ScratchWrite(0) };
        let operands = vec![Operand::Read(0), Operand::Read(1), target];
        let name = format!("conv2d_wgrad_{to}x{ti}");
        let product = Program { name, source, operands, record, grid: caps.grid(threads.div_ceil(lanes(caps))) };
        let mut lowered = Lowered { programs: vec![product], scratch: vec![] };
        if !direct {
            lowered.scratch.push((splits * len * 4) as u64);
            lowered.programs.push(split_sum(&conv.epilogue, step, plan, caps, 0, (len, splits))?);
        }
        Ok(lowered)
    }
}
