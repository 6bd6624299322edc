//! Convolutions as implicit products by register tiles: `shaders/conv2d*.wgsl`. Geometry is baked, the batch is data.

use super::epilogue::{Epilogue, split_sum};
use super::source::{MAX_LOOP, check_loops};
use super::source::{need_f32, record_len, word};
use crate::error::{Error, Result};
use crate::gpu::program::{Caps, Lowered, Operand, Program, Word};
use crate::gpu::shader::Shader;
use crate::plan::{Conv2d, ConvRole, Kernel, Plan, Step};

/// Lowers a [`Kernel::Conv2d`].
pub(crate) fn lower(step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let Kernel::Conv2d(conv) = &step.kernel else { return Err(Error::internal("conv2d::lower got another kernel")) };
    need_f32("conv2d", step, plan, &[0, 1])?;
    match conv.role {
        ConvRole::WeightGrad => weight_grad(conv, step, plan, caps),
        ConvRole::Forward | ConvRole::InputGrad => pixels(conv, step, plan, caps),
    }
}

/// A product whose result is an image: forward, or the input gradient. Side `read` is convolved, side `write` is written.
struct Sides {
    /// Channels a group, rows, columns.
    read: [usize; 3],
    write: [usize; 3],
    /// Elements of `w` between channels of the read and the written side.
    in_stride: usize,
    out_stride: usize,
}

impl Sides {
    fn of(conv: &Conv2d) -> Self {
        let groups = conv.spec.groups;
        let x = [conv.x[1] / groups, conv.x[2], conv.x[3]];
        let y = [conv.y[1] / groups, conv.y[2], conv.y[3]];
        let (taps, inner) = (conv.w[2] * conv.w[3], conv.w[1] * conv.w[2] * conv.w[3]);
        match conv.role {
            ConvRole::InputGrad => Self { read: y, write: x, in_stride: inner, out_stride: taps },
            _ => Self { read: x, write: y, in_stride: taps, out_stride: inner },
        }
    }
}

/// Threads of a workgroup: small groups balance better over few cores, and lavapipe's vectors are 8 wide.
fn lanes(caps: &Caps) -> usize {
    if caps.software { 16 } else { 64 }
}

/// Channels that a thread computes at most.
fn channel_tile(channels: usize) -> usize {
    match channels {
        0 | 1 => 1,
        2 => 2,
        3 | 4 => 4,
        _ => 8,
    }
}

/// Costs on lavapipe in vector multiply-adds, measured: a load of 1, 2 or 4 neighbours, and the masking of padding.
fn load_cost(width: usize) -> usize {
    match width {
        1 => 12,
        2 => 15,
        _ => 20,
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

/// The widest vector that divides all of these.
fn width(lengths: &[usize]) -> usize {
    [4, 2].into_iter().find(|v| lengths.iter().all(|l| l % v == 0)).unwrap_or(1)
}

/// What [`Tile::select`] depends on.
struct RowShape {
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
    /// Kernel rows times input channels, over which stores are spread.
    depth: usize,
    /// Results a thread at most: few cores want large tiles, a hardware GPU wants many threads.
    most: usize,
    /// Multiply-adds in unrolled text at most.
    unrolled: usize,
}

impl Tile {
    /// The tile with the lowest cost per useful multiply-add. Unrolled text stays within a bound: compile time is theirs.
    fn select(row: &RowShape) -> Self {
        let mut best = (f64::INFINITY, Self { pixels: 1, channels: 1, read: 1, write: 1 });
        let widest = channel_tile(row.channels);
        for channels in [widest, widest.min(4)] {
            for pixels in 1..=row.write.clamp(1, 16) {
                if pixels * channels * row.taps > row.unrolled || pixels * channels > row.most {
                    continue;
                }
                let tiles = row.write.div_ceil(pixels) * row.channels.div_ceil(channels);
                let read = match (row.vectors, tiles) {
                    (false, _) => 1,
                    // A tile that is a whole row starts at 0, which every width divides.
                    _ if pixels == row.write => width(&[row.read]),
                    _ => width(&[row.read, pixels * row.stride]),
                };
                let write = width(&[row.write, pixels]);
                let span = (pixels - 1) * row.stride + (row.taps - 1) * row.dilation + 1;
                let loads = (span + read - 1).div_ceil(read).min(row.read.div_ceil(read).max(1)) * (load_cost(read) + MASK_COST);
                let weights = row.taps * if channels % 4 == 0 { channels / 4 * load_cost(4) } else { channels * load_cost(1) };
                let stores = pixels.div_ceil(write) * channels * load_cost(write);
                let work = loads + weights + pixels * channels * row.taps;
                let cost = (tiles * (work * row.depth + stores)) as f64;
                if cost < best.0 {
                    best = (cost, Self { pixels, channels, read, write });
                }
            }
        }
        best.1
    }
}

fn pixels(conv: &Conv2d, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let sides = Sides::of(conv);
    let spec = &conv.spec;
    let [batch, groups] = [conv.x[0], spec.groups];
    let [kh, kw] = [conv.w[2], conv.w[3]];
    let [ic, ih, iw] = sides.read;
    let [oc, oh, ow] = sides.write;
    let strided = conv.role == ConvRole::InputGrad && spec.stride != [1, 1];
    let flipped = conv.role == ConvRole::InputGrad && !strided;

    let [sy, sx] = if flipped { [1, 1] } else { spec.stride };
    let [dy, dx] = spec.dilation;
    let unrolled = if kw <= 7 && !strided { kw } else { 1 };
    let per_residue = if strided { ow.div_ceil(sx) } else { ow };
    // An epilogue's text per result is dear to compile, a second look at the results is dear to run: short sums take the first.
    let second_look = ic * kh * kw > 32;
    let tile = Tile::select(&RowShape {
        read: iw,
        write: per_residue,
        channels: oc,
        stride: if strided { 1 } else { sx },
        dilation: dx,
        taps: unrolled,
        vectors: !strided && unrolled == kw,
        depth: ic * kh,
        unrolled: caps.unrolled,
        most: match (caps.software, second_look || conv.epilogue.is_identity()) {
            (true, true) => 112,
            (true, false) => 64,
            (false, _) => 32,
        },
    });
    let (tp, tc) = (tile.pixels, tile.channels);
    let ocp = oc.next_multiple_of(tc);
    let (xt, ct) = (per_residue.div_ceil(tp), oc.div_ceil(tc));
    let residues = if strided { spec.stride[1] } else { 1 };
    let threads = batch * groups * ct * oh * residues * xt;

    // The packed weights are scratch 0.
    let packed = groups * ic * kh * kw * ocp;
    let mut pack: Vec<Word> = [packed, ic, oc, ocp, kh * kw, 0, sides.in_stride, sides.out_stride].map(word).to_vec();
    pack[5] = word(conv.w.iter().product::<usize>() / groups);
    pack.extend([usize::from(flipped), 0, 0, 0].map(word));
    let pack = Program {
        name: "conv2d_pack".into(),
        source: Shader::new().render("conv2d_pack")?,
        operands: vec![Operand::Read(1), Operand::ScratchWrite(0)],
        record: pack,
        grid: caps.grid(packed.div_ceil(64)),
    };

    // Channels that a launch may read within the loop limit; several launches leave parts, which `split_sum` adds.
    let channel_loops = 1 + kh * if unrolled == kw { 1 } else { 1 + kw };
    check_loops("conv2d", channel_loops, caps)?;
    let channels_part = (MAX_LOOP / channel_loops).clamp(1, ic.max(1));
    let parts = ic.div_ceil(channels_part).max(1);
    let len = batch * groups * oc * oh * ow;
    let mut record = vec![word(threads), word(0), word(channels_part.min(ic)), word(0)];
    let direct = parts == 1 && Epilogue::fits(&conv.epilogue);
    let epilogue = if direct { Epilogue::new(&conv.epilogue, step, plan, 3, record.len()) } else { Epilogue::none() };
    record.extend(&epilogue.words);
    // The flipped convolution's padding may be negative; it is subtracted modulo 2³².
    let padding = |d: usize, k: usize| {
        let pad = spec.padding[d] as i64;
        if flipped { (spec.dilation[d] * (k - 1)) as i64 - pad } else { pad }
    };
    // Reading starts at a multiple of the vector's width in front of the first tap.
    let v = tile.read as i64;
    let lead = padding(1, kw) + (-padding(1, kw)).rem_euclid(v);
    let shift = (lead - padding(1, kw)) as usize;
    let span = (tp - 1) * sx + (unrolled - 1) * dx + 1;
    let literal = |value: i64| format!("{}u", value as u32);
    let write = if strided { 1 } else { tile.write };
    let vec4_w = tc % 4 == 0;
    let shader = Shader::new()
        .set("RECORD", record_len(record.len()))
        .set("GROUPS", groups)
        .set("IC", ic)
        .set("OC", oc)
        .set("OCP", ocp)
        .set("IH", ih)
        .set("IW", iw)
        .set("OH", oh)
        .set("OW", ow)
        .set("XT", xt)
        .set("CT", ct)
        .set("TP", tp)
        .set("TPV", tp / write)
        .set("TC", tc)
        .set("TCV", if vec4_w { tc / 4 } else { tc })
        .set("KH", kh)
        .set("KW", kw)
        .set("KU", unrolled)
        .set("NV", (shift + span).div_ceil(tile.read))
        .set("SHIFT", shift)
        .set("LEAD", literal(lead))
        .set("V", tile.read)
        .set("VO", write)
        .set("SECOND_LOOK", usize::from(second_look && !epilogue.is_identity()))
        .set("NOW", if second_look { "v" } else { epilogue.result(write) })
        .set("X_TYPE", vector(tile.read))
        .set("SY", sy)
        .set("SX", sx)
        .set("DY", dy)
        .set("DX", dx)
        .set("PY", if strided { spec.padding[0].to_string() } else { literal(padding(0, kh)) })
        .set("PX", spec.padding[1])
        .set("KH_STEP", sy / gcd(sy, dy))
        .set("KW_STEP", sx / gcd(sx, dx))
        .set("LANES", lanes(caps))
        .set("W_TYPE", if vec4_w { "vec4<f32>" } else { "f32" })
        .set("W_SHIFT", if vec4_w { " >> 2u" } else { "" })
        .set("OUT_TYPE", vector(write));
    let file = if strided { "conv2d_dgrad" } else { "conv2d" };
    let source = epilogue.fill(shader, write).render(file)?;
    let target = if direct { Operand::Write } else { Operand::ScratchWrite(1) };
    let mut operands = vec![Operand::Read(0), Operand::ScratchRead(0), target];
    operands.extend(&epilogue.operands);
    let name = format!("{}_{tp}x{tc}", step.kernel.name());
    let product = Program { name, source, operands, record, grid: caps.grid(threads.div_ceil(lanes(caps))) };
    let mut lowered = Lowered { programs: vec![pack], scratch: vec![(packed * 4) as u64] };
    for part in 0..parts {
        let mut launch = product.clone();
        let first = part * channels_part;
        launch.record[1..4].copy_from_slice(&[first, ic.min(first + channels_part), part * len].map(word));
        lowered.programs.push(launch);
    }
    if !direct {
        lowered.scratch.push((parts * len * 4) as u64);
        lowered.programs.push(split_sum(&conv.epilogue, step, plan, caps, 1, (len, parts))?);
    }
    Ok(lowered)
}

fn weight_grad(conv: &Conv2d, step: &Step, plan: &Plan, caps: &Caps) -> Result<Lowered> {
    let spec = &conv.spec;
    let [batch, groups] = [conv.x[0], spec.groups];
    let [kh, kw] = [conv.w[2], conv.w[3]];
    let (ic, oc) = (conv.w[1], conv.y[1] / groups);
    let (oh, ow) = (conv.y[2], conv.y[3]);
    let unrolled = if kw <= 5 { kw } else { 1 };
    let [sx, dx] = [spec.stride[1], spec.dilation[1]];
    // Taps that are not unrolled start anywhere, so their rows cannot be read in vectors.
    let v = if unrolled == kw { width(&[conv.x[3], ow]) } else { 1 };
    let pixels = if v > 1 { v } else { [7, 5, 4, 3].into_iter().find(|p| ow % p == 0).unwrap_or(ow.min(4)) };
    let lead = spec.padding[1].next_multiple_of(v);
    let shift = lead - spec.padding[1];
    let window = (shift + (pixels - 1) * sx + (unrolled - 1) * dx + 1).div_ceil(v);
    // A channel's loads are in the text, too.
    let ti = ic.min(if unrolled <= 2 { 8 } else { 4 }).min((caps.unrolled / (unrolled * pixels + window)).max(1));
    let most = (96 / (ti * unrolled)).min(caps.unrolled / (ti * unrolled * pixels)).max(1);
    let to = [8, 4, 2].into_iter().find(|&t| t <= most).unwrap_or(1).min(oc);
    // A step moves the window by `pixels * sx` elements.
    let keep = window.saturating_sub(pixels * sx / v);
    let (ot, it) = (oc.div_ceil(to), ic.div_ceil(ti));
    let tiles = ot * it * groups * kh * (kw / unrolled);
    let rows = batch * oh;
    // Enough threads to fill the device, and at least some rows each.
    let wanted: usize = if caps.software { 512 } else { 16_384 };
    let splits = wanted.div_ceil(tiles).min(rows.div_ceil(4)).max(1);
    // A thread walks a part of the rows, and all columns of each.
    let row_loops = 1 + ow.div_ceil(pixels.max(1));
    check_loops("conv2d_wgrad", row_loops, caps)?;
    let part = rows.div_ceil(splits).min(MAX_LOOP / row_loops).max(1);
    let splits = rows.div_ceil(part).max(1);
    let threads = tiles * splits;
    let len: usize = conv.w.iter().product();

    let direct = splits == 1 && conv.epilogue.is_identity();
    let record = vec![word(threads), word(rows), word(part), word(len)];
    let shader = Shader::new()
        .set("RECORD", record_len(record.len()))
        .set("GROUPS", groups)
        .set("IC", ic)
        .set("OC", oc)
        .set("IH", conv.x[2])
        .set("IW", conv.x[3])
        .set("OH", oh)
        .set("OW", ow)
        .set("KH", kh)
        .set("KW", kw)
        .set("OT", ot)
        .set("IT", it)
        .set("TO", to)
        .set("TI", ti)
        .set("KU", unrolled)
        .set("P", pixels)
        .set("PV", pixels / v)
        .set("V", v)
        .set("X_TYPE", vector(v))
        .set("NW", window)
        .set("KEEP", keep)
        .set("KEPT", keep * v)
        .set("MOVE", pixels * sx)
        .set("LEAD", lead)
        .set("SHIFT", shift)
        .set("KW_MOVES", usize::from(unrolled != kw))
        .set("GUARD", usize::from(ow % pixels != 0))
        .set("SY", spec.stride[0])
        .set("SX", sx)
        .set("DY", spec.dilation[0])
        .set("DX", dx)
        .set("PY", spec.padding[0])
        .set("LANES", lanes(caps));
    let source = Epilogue::none().fill(shader, 1).render("conv2d_wgrad")?;
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

/// The WGSL type of `width` neighbours.
fn vector(width: usize) -> String {
    if width == 1 { "f32".into() } else { format!("vec{width}<f32>") }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
