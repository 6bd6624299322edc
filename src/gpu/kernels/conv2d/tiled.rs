//! Products whose result is an image, by tiles in workgroup memory, for hardware: `shaders/conv2d_tiled.wgsl`.

use super::common::Sides;
use super::moments;
use crate::error::{Error, Result};
use crate::gpu::kernels::epilogue::{Epilogue, split_sum};
use crate::gpu::kernels::pack;
use crate::gpu::kernels::path::Path;
use crate::gpu::kernels::reduce::Parts;
use crate::gpu::kernels::source::{record_len, word};
use crate::gpu::kernels::tile::{self, DEPTH, Side, Tile};
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word};
use crate::gpu::shader::Shader;
use crate::plan::{Conv2d, ConvRole, Plan, Step};

/// Tiles of channels by pixels, the largest first, and their share of multiply-adds in what multiprocessors issue, read off compiled
/// kernels.
const TILES: [(Tile, f64); 9] = [
    (Tile::of_eights(128, 128), 0.94),
    (Tile::of_eights(96, 128), 0.93),
    (Tile::of_eights(64, 128), 0.92),
    (Tile::of_eights(128, 64), 0.92),
    (Tile::of_eights(64, 64), 0.9),
    (Tile::of_eights(32, 128), 0.88),
    (Tile::narrow(16, 256), 0.8),
    (Tile::narrow(8, 256), 0.7),
    (Tile::of_fours(32, 32), 0.5),
];

/// The same for weight gradients, of output channels by taps and input channels.
const GRADIENT_TILES: [(Tile, f64); 10] = [
    (Tile::of_eights(128, 128), 0.88),
    (Tile::of_eights(128, 64), 0.86),
    (Tile::of_eights(64, 128), 0.86),
    (Tile::of_eights(64, 64), 0.85),
    (Tile::narrow(64, 64), 0.8),
    (Tile::narrow(32, 64), 0.75),
    (Tile::of_fours(64, 32), 0.55),
    (Tile::of_fours(32, 32), 0.5),
    (Tile::of_fours(16, 64), 0.45),
    (Tile::of_fours(16, 32), 0.3),
];

/// The most taps that a record lists.
const MAX_TAPS: usize = 256;

/// A tap: where it reads, from the first pixel that it may meet, and its place in the weights.
struct Tap {
    y: i64,
    x: i64,
    place: usize,
}

impl Tap {
    /// Its words in a record: coordinates, their distance in an image of this many columns, and its place.
    #[allow(clippy::cast_possible_truncation, reason = "shaders compute addresses modulo 2^32")]
    fn words(&self, columns: usize) -> [Word; 4] {
        let offset = self.y * columns as i64 + self.x;
        [self.y as u32, self.x as u32, offset as u32, self.place as u32].map(Word::U32)
    }
}

/// The taps of a forward pass, in the order of the weights.
fn taps(conv: &Conv2d) -> Vec<Tap> {
    let (spec, [kh, kw]) = (&conv.spec, [conv.w[2], conv.w[3]]);
    let at = |d: usize, k: usize| (k * spec.dilation[d]) as i64 - spec.padding[d] as i64;
    (0..kh * kw).map(|place| Tap { y: at(0, place / kw), x: at(1, place % kw), place }).collect()
}

/// Output pixels that meet the same taps.
struct Class {
    residue: [usize; 2],
    taps: Vec<Tap>,
}

/// Where a program reads weights, and the program that brings them there, with the elements that it writes.
type Source = (Operand, Option<(Program, usize)>);

/// How weights are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// `[tap][co][ci]`, where each tile is of one tap: as they are if there is only one tap, else packed.
    Taps(Path),
    /// Packed as tiles step through them, with zeros past the last step.
    Steps,
}

/// Forward, or the input gradient, as a product of weights and pixels.
pub(super) struct Image<'a> {
    conv: &'a Conv2d,
    sides: Sides,
    classes: Vec<Class>,
    /// Elements that are read from a pixel to the next, and elements that are written.
    step: [usize; 2],
    out_step: [usize; 2],
    /// Rows and columns of a class.
    size: [usize; 2],
}

impl<'a> Image<'a> {
    pub fn of(conv: &'a Conv2d) -> Self {
        let sides = Sides::of(conv);
        let spec = &conv.spec;
        let [kh, kw] = [conv.w[2], conv.w[3]];
        let [oh, ow] = [sides.write[1], sides.write[2]];
        if conv.role != ConvRole::InputGrad {
            let taps = taps(conv);
            let classes = vec![Class { residue: [0, 0], taps }];
            return Self { conv, sides, classes, step: spec.stride, out_step: [1, 1], size: [oh, ow] };
        }
        let [sy, sx] = spec.stride;
        let all = || (0..kh).flat_map(|y| (0..kw).map(move |x| [y, x]));
        let tap = |y: i64, x: i64, at: [usize; 2]| Tap { y, x, place: at[0] * kw + at[1] };
        // The taps that pixels of a residue meet are those whose distance is a multiple of the stride.
        let distance =
            |d: usize, residue: usize, k: usize| residue as i64 + spec.padding[d] as i64 - (k * spec.dilation[d]) as i64;
        let class = |residue: [usize; 2]| {
            let meet = |d: usize, k: usize| distance(d, residue[d], k).rem_euclid(spec.stride[d] as i64) == 0;
            let at = |d: usize, k: usize| distance(d, residue[d], k).div_euclid(spec.stride[d] as i64);
            let taps = all().filter(|k| meet(0, k[0]) && meet(1, k[1])).map(|k| tap(at(0, k[0]), at(1, k[1]), k)).collect();
            Class { residue, taps }
        };
        let classes = (0..sy).flat_map(|y| (0..sx).map(move |x| [y, x])).map(class).collect();
        Self { conv, sides, classes, step: [1, 1], out_step: [sy, sx], size: [oh.div_ceil(sy), ow.div_ceil(sx)] }
    }

    /// Whether tiles suit it: depthwise convolutions and those of a few channels are bound by memory.
    pub fn suits(&self) -> bool {
        let taps: usize = self.classes.iter().map(|class| class.taps.len()).sum();
        self.sides.write[0] > 4 && self.sides.read[0] * taps >= DEPTH && taps <= MAX_TAPS && self.classes.len() <= MAX_TAPS
    }

    /// The tile and the parts of the inner dimension for a device.
    pub fn select(&self, caps: &Caps) -> Option<(Tile, usize)> {
        let mut given: Vec<(Tile, f64)> = TILES.into_iter().filter(|(tile, _)| self.takes(tile)).collect();
        // Below 64 channels or pixels, what a tile loads per multiply-add doubles; parts of the inner dimension fill a device as well.
        let wastes = |len: usize, side: usize| 10 * len < 9 * len.next_multiple_of(side);
        let large = |tile: &Tile| {
            let small = tile.rows < 64 || tile.columns < 64;
            !small && !wastes(self.sides.write[0], tile.rows) && !wastes(self.pixels(), tile.columns)
        };
        if given.iter().any(|(tile, _)| large(tile)) {
            given.retain(|(tile, _)| large(tile));
        }
        let k = self.classes.iter().map(|class| self.steps(class)).max()?;
        let batches = self.conv.spec.groups * self.classes.len();
        tile::select(tile::Kind::Convolution, [self.sides.write[0], self.pixels(), k], batches, &given, caps)
    }

    /// Whether each tile along the inner dimension is of one tap.
    fn is_wide(&self) -> bool {
        self.sides.read[0].is_multiple_of(DEPTH)
    }

    /// Whether a workgroup can load such tiles: where steps have taps of their own, all its threads load the same step.
    fn takes(&self, tile: &Tile) -> bool {
        self.is_wide() || tile.threads() <= tile.columns
    }

    fn steps(&self, class: &Class) -> usize {
        class.taps.len() * self.sides.read[0]
    }

    /// Pixels of a class, of all images.
    fn pixels(&self) -> usize {
        self.conv.x[0] * self.size[0] * self.size[1]
    }

    /// How weights are read: channels are neighbours one way or the other.
    fn order(&self) -> Order {
        let vectors = self.sides.write[0].is_multiple_of(4);
        match self.conv.role {
            ConvRole::InputGrad if self.is_wide() && vectors => Order::Taps(Path::Outer),
            ConvRole::InputGrad => Order::Steps,
            _ if self.is_wide() => Order::Taps(Path::Inner),
            _ => Order::Steps,
        }
    }

    /// Where weights are in this order; `steps` makes the program that packs them as tiles step through them.
    fn weights(&self, order: Order, steps: impl FnOnce() -> Result<(Program, usize)>, caps: &Caps) -> Result<Source> {
        let w = self.conv.w;
        match (order, self.conv.packed) {
            (Order::Taps(_), Some(_)) => Ok((Operand::Read(1), None)),
            (Order::Taps(_), None) if w[2] * w[3] == 1 => Ok((Operand::Read(1), None)),
            (Order::Taps(_), None) => {
                let part = [w[0] * w[1], w[2] * w[3]];
                let program = pack::program(&[part], &[Operand::Read(1)], Operand::ScratchWrite(0), caps)?;
                Ok((Operand::ScratchRead(0), Some((program, part[0] * part[1]))))
            }
            (Order::Steps, None) => Ok((Operand::ScratchRead(0), Some(steps()?))),
            (Order::Steps, Some(_)) => Err(Error::internal(format!("weights of {w:?} are packed for wider tiles"))),
        }
    }

    /// Steps of a class with those that fill its last tile, and of each of so many parts.
    fn parts(&self, class: &Class, splits: usize) -> [usize; 2] {
        let total = self.steps(class).next_multiple_of(DEPTH);
        [total, total.div_ceil(splits).next_multiple_of(DEPTH).max(DEPTH)]
    }

    /// As many of the wanted parts as have steps.
    fn splits(&self, wanted: usize) -> usize {
        let filled = self.classes.iter().map(|class| {
            let [total, part] = self.parts(class, wanted);
            total.div_ceil(part)
        });
        filled.max().unwrap_or(1).max(1)
    }

    /// The record that both programs read, without words of an epilogue: sizes, classes and taps.
    fn record(&self, tile: Tile, splits: usize, order: Order, channels: usize, len: usize) -> (Vec<Word>, usize, usize) {
        let (groups, pixels) = (self.conv.spec.groups, self.pixels());
        let (tiles_m, tiles_n) = (self.sides.write[0].div_ceil(tile.rows), pixels.div_ceil(tile.columns));
        let count = tiles_m * tiles_n * groups * self.classes.len() * splits;
        let (mut classes, mut taps, mut packed) = (Vec::new(), Vec::new(), 0);
        for class in &self.classes {
            let (steps, [total, part]) = (self.steps(class), self.parts(class, splits));
            let first = if order == Order::Steps { packed } else { self.conv.packed.unwrap_or(0) };
            classes.extend([taps.len() / 4, total, part, first].map(word));
            classes.extend([class.residue[0], class.residue[1], steps, 0].map(word));
            packed += groups * total * channels;
            for tap in &class.taps {
                taps.extend(tap.words(self.sides.read[2]));
            }
        }
        let mut record = [count, pixels, tiles_m, tiles_n, len, packed, 0, 0].map(word).to_vec();
        record.extend(classes);
        record.extend(taps);
        (record, count, packed)
    }

    /// The programs for a tile and parts of the inner dimension.
    pub fn lower(&self, wanted: Tile, splits: usize, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
        let tile = if self.takes(&wanted) { wanted } else { Tile::of_eights(64, 128) };
        let splits = self.splits(splits);
        let groups = self.conv.spec.groups;
        let [ic, ih, iw] = self.sides.read;
        let [oc, oh, ow] = self.sides.write;
        let order = self.order();
        let jumps = order != Order::Steps && self.conv.w[2] * self.conv.w[3] > 1;
        let channels = oc.next_multiple_of(4);
        let len = self.conv.x[0] * groups * oc * oh * ow;
        let (mut record, count, packed) = self.record(tile, splits, order, channels, len);
        let taps_at = 2 + 2 * self.classes.len();
        let geometry = Shader::new()
            .set("IC", ic)
            .set("OC", oc)
            .set("OCP", channels)
            .set("CLASSES", self.classes.len())
            .set("TAPS_AT", taps_at);
        let steps = || {
            let source = geometry
                .clone()
                .set("RECORD", record_len(record.len()))
                .set("GROUP_STRIDE", self.sides.group_stride)
                .set("IN_STRIDE", self.sides.in_stride)
                .set("OUT_STRIDE", self.sides.out_stride)
                .render("conv2d_weights")?;
            let operands = vec![Operand::Read(1), Operand::ScratchWrite(0)];
            let grid = caps.grid(packed.div_ceil(64));
            Ok((Program { name: "conv2d_weights".into(), source, operands, record: record.clone(), grid }, packed))
        };
        let (weights, program) = self.weights(order, steps, caps)?;
        let mut lowered = Lowered::default();
        if let Some((program, written)) = program {
            lowered.programs.push(program);
            lowered.scratch.push((written.max(1) * 4) as u64);
        }

        let direct = splits == 1 && Epilogue::fits(&self.conv.epilogue);
        let epilogue = if direct { Epilogue::new(&self.conv.epilogue, step, plan, 3, record.len()) } else { Epilogue::none() };
        record.extend(&epilogue.words);
        let path = if let Order::Taps(path) = order { path } else { Path::Outer };
        let side = Side {
            place: "a",
            from: "weights",
            lines_are: "channels",
            lines: tile.rows,
            first: "first_m",
            edge: "m",
            line: "w_row",
            step: "w_k",
            path,
            jumps,
            sums: false,
            other: "",
        };
        let [a_at, a_load, _, a_store, _] = side.texts(tile.threads())?;
        // Neighbouring threads take neighbouring pixels.
        let rows = (tile.threads() / tile.columns).max(1);
        let [lines, in_memory] = match order {
            Order::Steps => [1, channels],
            Order::Taps(Path::Outer) => [1, oc],
            Order::Taps(_) => [ic, 1],
        };
        let vectors = self.out_step == [1, 1] && (oh * ow).is_multiple_of(4);
        let shader = tile
            .fill(geometry, caps)
            .set("RECORD", record_len(record.len()))
            .set("GROUPS", groups)
            .set("IH", ih)
            .set("IW", iw)
            .set("OH", oh)
            .set("OW", ow)
            .set("QW", self.size[1])
            .set("Q", self.size[0] * self.size[1])
            .set("SY", self.step[0])
            .set("SX", self.step[1])
            .set("OSY", self.out_step[0])
            .set("OSX", self.out_step[1])
            .set("M", if order == Order::Steps { channels } else { oc })
            .set(
                "WEIGHTS_OF_GROUP",
                if order == Order::Steps { format!("(k_total * {channels}u)") } else { format!("{}u", ic * oc) },
            )
            .set("JUMPS", usize::from(jumps))
            .set("TAP_STRIDE", groups * ic * oc)
            .set("W_ROW", lines)
            .set("W_K", in_memory)
            .set("A_AT", a_at)
            .set("A_LOAD", a_load)
            .set("A_STORE", a_store)
            .set("WIDE", usize::from(self.is_wide()))
            .set("SLOTS", (tile.columns / tile.threads()).max(1))
            .set("LOADING", if rows * tile.columns < tile.threads() { rows * tile.columns } else { 0 })
            .set("ROWS", rows)
            .set("LOADS", DEPTH / rows)
            .set("OUT", if vectors { "x" } else { "s" })
            .set("OUT_TYPE", if vectors { "vec4<f32>" } else { "f32" });
        let source = epilogue.fill(shader, if vectors { 4 } else { 1 }).render("conv2d_tiled")?;
        let partial = lowered.scratch.len();
        let target = if direct { Operand::Write } else { Operand::ScratchWrite(partial) };
        let mut operands = vec![Operand::Read(0), weights, target];
        operands.extend(&epilogue.operands);
        let name = format!("{}_tiled_{}x{}", step.kernel.name(), tile.rows, tile.columns);
        lowered.programs.push(Program { name, source, operands, record, grid: caps.grid(count) });
        if !direct {
            lowered.scratch.push((splits * len * 4) as u64);
            let parts = Parts { scratch: partial, splits };
            if moments::add_up(&mut lowered, parts, self.conv, step, plan, caps)? {
                return Ok(lowered);
            }
            lowered.programs.push(split_sum(&self.conv.epilogue, step, plan, caps, partial, (len, splits))?);
        }
        moments::take(&mut lowered, self.conv, step, plan, caps)?;
        Ok(lowered)
    }
}

/// The weight gradient as a product of output pixels and the input pixels that they meet: `shaders/conv2d_wgrad_tiled.wgsl`.
pub(super) struct Weights<'a> {
    conv: &'a Conv2d,
    /// Channels of a group of either side, and columns: taps times input channels.
    ic: usize,
    oc: usize,
    columns: usize,
    pixels: usize,
}

impl<'a> Weights<'a> {
    pub fn of(conv: &'a Conv2d) -> Self {
        let (ic, oc) = (conv.w[1], conv.y[1] / conv.spec.groups);
        let columns = ic * conv.w[2] * conv.w[3];
        Self { conv, ic, oc, columns, pixels: conv.x[0] * conv.y[2] * conv.y[3] }
    }

    /// Whether tiles suit it: those of a few channels would be padding for the most part.
    pub fn suits(&self) -> bool {
        self.oc > 8 && self.columns > 16 && self.columns / self.ic <= MAX_TAPS
    }

    /// The tile and the parts of the pixels for a device.
    pub fn select(&self, caps: &Caps) -> Option<(Tile, usize)> {
        // Where a tile's columns have several taps, a thread remembers them, for which large tiles have no registers left.
        let large = |tile: &Tile| tile.thread == [8, 8] && self.one_tap(tile) && self.oc >= 64 && self.columns >= 64;
        let all = GRADIENT_TILES.iter();
        let given: Vec<(Tile, f64)> = match all.clone().any(|(tile, _)| large(tile)) {
            true => all.filter(|(tile, _)| large(tile)).copied().collect(),
            false => all.filter(|(tile, _)| tile.thread != [8, 8]).copied().collect(),
        };
        tile::select(tile::Kind::Convolution, [self.oc, self.columns, self.pixels], self.conv.spec.groups, &given, caps)
    }

    /// Whether all columns of a tile have the same tap.
    fn one_tap(&self, tile: &Tile) -> bool {
        self.columns == self.ic || self.ic.is_multiple_of(tile.columns)
    }

    /// The programs for a tile and parts of the pixels.
    pub fn lower(&self, tile: Tile, splits: usize, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
        let (conv, spec) = (self.conv, &self.conv.spec);
        let len = conv.w.iter().product::<usize>();
        let part = self.pixels.div_ceil(splits).next_multiple_of(DEPTH);
        let splits = self.pixels.div_ceil(part).max(1);
        let (tiles_m, tiles_n) = (self.oc.div_ceil(tile.rows), self.columns.div_ceil(tile.columns));
        let count = tiles_m * tiles_n * spec.groups * splits;
        let image = conv.y[2] * conv.y[3];
        let path = if image.is_multiple_of(4) { Path::Inner } else { Path::InnerScalars };
        let side = Side {
            place: "a",
            from: "dy",
            lines_are: "channels",
            lines: tile.rows,
            first: "first_m",
            edge: "OC",
            line: "Q",
            step: "1u",
            path,
            jumps: false,
            sums: false,
            other: "",
        };
        let [_, _, _, a_store, _] = side.texts(tile.threads())?;
        let loads = side.loads(tile.threads());
        let mut record = [count, self.pixels, part, len].map(word).to_vec();
        record.extend(taps(conv).iter().flat_map(|tap| tap.words(conv.x[3])));
        let source = tile
            .fill(Shader::new(), caps)
            .set("RECORD", record_len(record.len()))
            .set("GROUPS", spec.groups)
            .set("IC", self.ic)
            .set("OC", self.oc)
            .set("IH", conv.x[2])
            .set("IW", conv.x[3])
            .set("OW", conv.y[3])
            .set("Q", image)
            .set("SY", spec.stride[0])
            .set("SX", spec.stride[1])
            .set("TAPS", self.columns / self.ic)
            .set("COLUMNS", self.columns)
            .set("TILES_M", tiles_m)
            .set("TILES_N", tiles_n)
            .set("A_TYPE", path.element())
            .set("A_UNIT", if path == Path::Inner { 4 } else { 1 })
            .set("A_FAST", loads.fast)
            .set("A_SLOW", &loads.slow)
            .set("A_LOADS", loads.count)
            .set("A_APART", loads.apart)
            .set("A_STORE", a_store)
            .set("ONE_TAP", usize::from(self.one_tap(&tile)))
            .set("B_LOADS", tile.columns * DEPTH / tile.threads())
            .set("B_APART", tile.threads() / DEPTH)
            .render("conv2d_wgrad_tiled")?;
        let direct = splits == 1 && conv.epilogue.is_identity();
        let target = if direct { Operand::Write } else { Operand::ScratchWrite(0) };
        let operands = vec![Operand::Read(0), Operand::Read(1), target];
        let name = format!("conv2d_wgrad_tiled_{}x{}", tile.rows, tile.columns);
        let mut lowered =
            Lowered { programs: vec![Program { name, source, operands, record, grid: caps.grid(count) }], scratch: vec![] };
        if !direct {
            lowered.scratch.push((splits * len * 4) as u64);
            lowered.programs.push(split_sum(&conv.epilogue, step, plan, caps, 0, (len, splits))?);
        }
        Ok(lowered)
    }
}
