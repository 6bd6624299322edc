//! Products whose result is an image: a thread computes neighbouring pixels of a row, in some channels.

use super::common::{Sides, lanes, vector, width};
use super::moments;
use crate::error::Result;
use crate::gpu::kernels::epilogue::{Epilogue, split_sum};
use crate::gpu::kernels::source::{MAX_LOOP, check_loops, record_len, word};
use crate::gpu::program::{Caps, Lowered, Operand, Program};
use crate::gpu::shader::Shader;
use crate::plan::{Conv2d, ConvRole, Plan, Step};

/// Channels that a thread computes at most.
fn channel_tile(channels: usize) -> usize {
    match channels {
        0 | 1 => 1,
        2 => 2,
        3 | 4 => 4,
        5.. => 8,
    }
}

/// Costs on lavapipe in vector multiply-adds, measured: a load of 1, 2 or 4 neighbours, and the masking of padding.
fn load_cost(width: usize) -> usize {
    match width {
        0 | 1 => 12,
        2 | 3 => 15,
        4.. => 20,
    }
}
const MASK_COST: usize = 4;

/// How a thread reads and writes rows.
#[derive(Debug, Clone, Copy)]
struct Tile {
    /// Neighbouring pixels.
    pixels: usize,
    /// Channels.
    channels: usize,
    /// Elements of a vector that is read, and of one that is written.
    read: usize,
    write: usize,
}

/// A row of the result, as a thread meets it.
struct Row {
    /// Lengths of a row that is read and of one that is written.
    read: usize,
    write: usize,
    /// Channels of a group that are written.
    channels: usize,
    /// Step, distance of taps, and taps that are unrolled.
    stride: usize,
    dilation: usize,
    taps: usize,
    /// Whether rows may be read in vectors.
    vectors: bool,
}

impl Row {
    /// A tile of this row, no larger than the row is, and how wide its vectors can be.
    fn tile(&self, pixels: usize, channels: usize) -> Tile {
        let (pixels, channels) = (pixels.min(self.write).max(1), channels.min(channel_tile(self.channels)));
        let read = match self.vectors {
            false => 1,
            // A tile that is a whole row starts at 0, which every width divides.
            true if pixels == self.write => width(&[self.read]),
            true => width(&[self.read, pixels * self.stride]),
        };
        Tile { pixels, channels, read, write: width(&[self.write, pixels]) }
    }

    /// Tiles that cover it, in all its channels.
    fn tiles(&self, tile: Tile) -> usize {
        self.write.div_ceil(tile.pixels) * self.channels.div_ceil(tile.channels)
    }

    /// What a tile costs per kernel row and input channel, and in stores, in vector multiply-adds.
    fn costs(&self, tile: Tile) -> [usize; 2] {
        let Tile { pixels, channels, read, write } = tile;
        let span = (pixels - 1) * self.stride + (self.taps - 1) * self.dilation + 1;
        let loads = (span + read - 1).div_ceil(read).min(self.read.div_ceil(read).max(1)) * (load_cost(read) + MASK_COST);
        let weights = self.taps * if channels % 4 == 0 { channels / 4 * load_cost(4) } else { channels * load_cost(1) };
        [loads + weights + pixels * channels * self.taps, pixels.div_ceil(write) * channels * load_cost(write)]
    }
}

/// A product whose result is an image, laid out over threads.
pub(super) struct Geometry<'a> {
    conv: &'a Conv2d,
    sides: Sides,
    /// Whether it is the gradient of a convolution with steps: its pixels fall into residues, which meet different taps.
    strided: bool,
    /// Whether it is the gradient of one without: a convolution with the kernel turned around.
    flipped: bool,
    /// Rows and columns from one pixel to the next.
    stride: [usize; 2],
    row: Row,
    /// Whether results are finished in a second look. An epilogue's text per result is expensive to compile, a second look at the
    /// results is expensive to run: short sums use the first.
    second_look: bool,
}

impl<'a> Geometry<'a> {
    pub fn of(conv: &'a Conv2d, caps: &Caps) -> Self {
        let sides = Sides::of(conv);
        let spec = &conv.spec;
        let [kh, kw] = [conv.w[2], conv.w[3]];
        let strided = conv.role == ConvRole::InputGrad && spec.stride != [1, 1];
        let flipped = conv.role == ConvRole::InputGrad && !strided;
        let stride = if flipped { [1, 1] } else { spec.stride };
        let taps = if kw <= 7 && !strided { kw } else { 1 };
        let row = Row {
            read: sides.read[2],
            write: if strided { sides.write[2].div_ceil(stride[1]) } else { sides.write[2] },
            channels: sides.write[0],
            stride: if strided { 1 } else { stride[1] },
            dilation: spec.dilation[1],
            taps,
            vectors: !strided && taps == kw,
        };
        let second_look = sides.read[0] * kh * kw > 32 || !caps.copies(caps.unrolled, &conv.epilogue);
        Self { conv, sides, strided, flipped, stride, row, second_look }
    }

    /// Pixels and channels of the tile with the lowest cost per useful multiply-add. Unrolled text stays within a bound, since it
    /// takes most of the compile time.
    pub fn select(&self, caps: &Caps) -> [usize; 2] {
        // Results per thread at most: few cores want large tiles, a hardware GPU wants many threads.
        let most = match (caps.software, self.second_look || self.conv.epilogue.is_identity()) {
            (true, true) => 112,
            (true, false) => 64,
            (false, _) => 32,
        };
        // Kernel rows times input channels, over which stores are spread.
        let depth = self.sides.read[0] * self.conv.w[2];
        let widest = channel_tile(self.row.channels);
        let mut best = (f64::INFINITY, [1, 1]);
        for channels in [widest, widest.min(4)] {
            for pixels in 1..=self.row.write.clamp(1, 16) {
                if pixels * channels * self.row.taps > caps.unrolled || pixels * channels > most {
                    continue;
                }
                let tile = self.row.tile(pixels, channels);
                let [work, stores] = self.row.costs(tile);
                let cost = (self.row.tiles(tile) * (work * depth + stores)) as f64;
                if cost < best.0 {
                    best = (cost, [pixels, channels]);
                }
            }
        }
        best.1
    }

    /// Channels of a group that are written, padded to whole tiles.
    fn padded_channels(&self, tile: Tile) -> usize {
        self.sides.write[0].next_multiple_of(tile.channels)
    }

    /// Elements of the packed weights.
    fn packed(&self, tile: Tile) -> usize {
        let [ic, ..] = self.sides.read;
        self.conv.spec.groups * ic * self.conv.w[2] * self.conv.w[3] * self.padded_channels(tile)
    }

    /// Results.
    fn len(&self) -> usize {
        self.conv.x[0] * self.conv.spec.groups * self.sides.write.iter().product::<usize>()
    }

    fn threads(&self, tile: Tile) -> usize {
        let residues = if self.strided { self.stride[1] } else { 1 };
        let tiles = self.row.tiles(tile) * self.sides.write[1] * residues;
        self.conv.x[0] * self.conv.spec.groups * tiles
    }

    /// Padding along a dimension. A flipped convolution's may be negative; it is subtracted modulo 2³².
    fn padding(&self, d: usize) -> i64 {
        let spec = &self.conv.spec;
        let pad = spec.padding[d] as i64;
        if self.flipped { (spec.dilation[d] * (self.conv.w[2 + d] - 1)) as i64 - pad } else { pad }
    }

    /// The weights, in the order in which tiles read them, as scratch 0.
    fn pack(&self, tile: Tile, caps: &Caps) -> Result<Program> {
        let [ic, oc] = [self.sides.read[0], self.sides.write[0]];
        let weights = &self.conv.w;
        let packed = self.packed(tile);
        let taps = weights[2] * weights[3];
        let mut record = [packed, ic, oc, self.padded_channels(tile), taps, self.sides.group_stride].map(word).to_vec();
        record.extend([self.sides.in_stride, self.sides.out_stride, usize::from(self.flipped)].map(word));
        record.extend([self.sides.tap_stride, self.conv.packed.unwrap_or(0), 0].map(word));
        Ok(Program {
            name: "conv2d_pack".into(),
            source: Shader::new().render("conv2d_pack")?,
            operands: vec![Operand::Read(1), Operand::ScratchWrite(0)],
            record,
            grid: caps.grid(packed.div_ceil(64)),
        })
    }

    /// The text for a tile, without an epilogue's holes.
    #[allow(clippy::cast_possible_truncation, reason = "sizes of a convolution are checked to fit 31 bits")]
    fn shader(&self, tile: Tile, epilogue: &Epilogue, record: usize, caps: &Caps) -> Shader {
        let Tile { pixels, channels, read, .. } = tile;
        let [kh, kw] = [self.conv.w[2], self.conv.w[3]];
        let [ic, ih, iw] = self.sides.read;
        let [oc, oh, ow] = self.sides.write;
        let ([sy, sx], [dy, dx]) = (self.stride, self.conv.spec.dilation);
        // Reading starts at a multiple of the vector's width in front of the first tap.
        let lead = self.padding(1) + (-self.padding(1)).rem_euclid(read as i64);
        let shift = (lead - self.padding(1)) as usize;
        let span = (pixels - 1) * sx + (self.row.taps - 1) * dx + 1;
        let literal = |value: i64| format!("{}u", value as u32);
        let write = self.written(tile);
        let vec4_w = channels % 4 == 0;
        Shader::new()
            .set("RECORD", record_len(record))
            .set("GROUPS", self.conv.spec.groups)
            .set("IC", ic)
            .set("OC", oc)
            .set("OCP", self.padded_channels(tile))
            .set("IH", ih)
            .set("IW", iw)
            .set("OH", oh)
            .set("OW", ow)
            .set("XT", self.row.write.div_ceil(pixels))
            .set("CT", oc.div_ceil(channels))
            .set("TP", pixels)
            .set("TPV", pixels / write)
            .set("TC", channels)
            .set("TCV", if vec4_w { channels / 4 } else { channels })
            .set("KH", kh)
            .set("KW", kw)
            .set("KU", self.row.taps)
            .set("NV", (shift + span).div_ceil(read))
            .set("SHIFT", shift)
            .set("LEAD", literal(lead))
            .set("V", read)
            .set("VO", write)
            .set("SECOND_LOOK", usize::from(self.second_look && !epilogue.is_identity()))
            .set("NOW", if self.second_look { "v" } else { epilogue.result(write) })
            .set("X_TYPE", vector(read))
            .set("SY", sy)
            .set("SX", sx)
            .set("DY", dy)
            .set("DX", dx)
            .set("PY", if self.strided { self.conv.spec.padding[0].to_string() } else { literal(self.padding(0)) })
            .set("PX", self.conv.spec.padding[1])
            .set("KH_STEP", sy / gcd(sy, dy))
            .set("KW_STEP", sx / gcd(sx, dx))
            .set("SHORT", usize::from(caps.short_texts()))
            .set("LANES", lanes(caps))
            .set("W_TYPE", if vec4_w { "vec4<f32>" } else { "f32" })
            .set("W_SHIFT", if vec4_w { " >> 2u" } else { "" })
            .set("OUT_TYPE", vector(write))
    }

    /// Elements of a vector that is written: the pixels of a residue are not neighbours.
    fn written(&self, tile: Tile) -> usize {
        if self.strided { 1 } else { tile.write }
    }

    /// The programs for tiles of this many pixels and channels, or as many as there are.
    pub fn lower(&self, [pixels, channels]: [usize; 2], step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
        let tile = self.row.tile(pixels, channels);
        let [kh, kw] = [self.conv.w[2], self.conv.w[3]];
        let ic = self.sides.read[0];
        // Channels that a launch may read within the loop limit; several launches leave parts, which `split_sum` adds.
        let channel_loops = 1 + kh * if self.row.taps == kw { 1 } else { 1 + kw };
        check_loops("conv2d", channel_loops, caps)?;
        let channels_part = (MAX_LOOP / channel_loops).clamp(1, ic.max(1));
        let parts = ic.div_ceil(channels_part).max(1);

        let (threads, len) = (self.threads(tile), self.len());
        let mut record = vec![word(threads), word(0), word(channels_part.min(ic)), word(0)];
        let direct = parts == 1 && Epilogue::fits(&self.conv.epilogue);
        let epilogue = if direct { Epilogue::new(&self.conv.epilogue, step, plan, 3, record.len()) } else { Epilogue::none() };
        record.extend(&epilogue.words);
        let shader = self.shader(tile, &epilogue, record.len(), caps);
        let file = if self.strided { "conv2d_dgrad" } else { "conv2d" };
        let source = epilogue.fill(shader, self.written(tile)).render(file)?;
        let target = if direct { Operand::Write } else { Operand::ScratchWrite(1) };
        let mut operands = vec![Operand::Read(0), Operand::ScratchRead(0), target];
        operands.extend(&epilogue.operands);
        let name = format!("{}_{}x{}", step.kernel.name(), tile.pixels, tile.channels);
        let product = Program { name, source, operands, record, grid: caps.grid(threads.div_ceil(lanes(caps))) };
        let mut lowered = Lowered { programs: vec![self.pack(tile, caps)?], scratch: vec![(self.packed(tile) * 4) as u64] };
        for part in 0..parts {
            let mut launch = product.clone();
            let first = part * channels_part;
            launch.record[1..4].copy_from_slice(&[first, ic.min(first + channels_part), part * len].map(word));
            lowered.programs.push(launch);
        }
        if !direct {
            lowered.scratch.push((parts * len * 4) as u64);
            lowered.programs.push(split_sum(&self.conv.epilogue, step, plan, caps, 1, (len, parts))?);
        }
        moments::take(&mut lowered, self.conv, step, plan, caps)?;
        Ok(lowered)
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
