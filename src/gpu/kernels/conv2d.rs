//! Convolutions as implicit products by register tiles: `shaders/conv2d*.wgsl`. Geometry is baked, the batch is data.

use super::{Epilogue, need_f32, record_len, split_sum, word};
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

/// The length of a tile along `len`: few tiles, little waste, and at most `most`.
fn tile(len: usize, most: usize) -> usize {
    let cost = |t: usize| len.div_ceil(t) * (t + 3);
    (1..=most.min(len.max(1))).rev().min_by_key(|&t| cost(t)).unwrap_or(1)
}

/// Channels that a thread computes.
fn channel_tile(channels: usize) -> usize {
    match channels {
        0 | 1 => 1,
        2 => 2,
        3 | 4 => 4,
        _ => 8,
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

    let tc = channel_tile(oc);
    let ocp = oc.next_multiple_of(tc);
    let per_residue = if strided { ow.div_ceil(spec.stride[1]) } else { ow };
    let tp = if strided {
        tile(per_residue, 8)
    } else if ow % 8 == 0 {
        8
    } else if ow % 4 == 0 {
        4
    } else {
        tile(ow, 8)
    };
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

    let mut record = vec![word(threads), word(0), word(0), word(0)];
    let direct = Epilogue::fits(&conv.epilogue);
    let epilogue = if direct { Epilogue::new(&conv.epilogue, step, plan, 3, record.len()) } else { Epilogue::none() };
    record.extend(&epilogue.words);
    let [sy, sx] = if flipped { [1, 1] } else { spec.stride };
    let [dy, dx] = spec.dilation;
    // The flipped convolution's padding may be negative: `PY` is an expression that is subtracted.
    let padding = |d: usize, k: usize| {
        let pad = spec.padding[d] as i64;
        let pad = if flipped { (spec.dilation[d] * (k - 1)) as i64 - pad } else { pad };
        if strided { pad.to_string() } else { format!("{}u", pad as u32) }
    };
    let unrolled = if kw <= 4 || (kw <= 7 && tc * tp * kw <= 320) { kw } else { 1 };
    let vec4_out = !strided && ow % 4 == 0 && tp % 4 == 0;
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
        .set("TP4", tp / 4)
        .set("TC", tc)
        .set("TCV", if vec4_w { tc / 4 } else { tc })
        .set("KH", kh)
        .set("KW", kw)
        .set("KU", unrolled)
        .set("SPAN", (tp - 1) * sx + (unrolled - 1) * dx + 1)
        .set("SY", sy)
        .set("SX", sx)
        .set("DY", dy)
        .set("DX", dx)
        .set("PY", padding(0, kh))
        .set("PX", padding(1, kw))
        .set("KH_STEP", sy / gcd(sy, dy))
        .set("KW_STEP", sx / gcd(sx, dx))
        .set("LANES", lanes(caps))
        .set("W_TYPE", if vec4_w { "vec4<f32>" } else { "f32" })
        .set("W_SHIFT", if vec4_w { " >> 2u" } else { "" })
        .set("OUT_TYPE", if vec4_out { "vec4<f32>" } else { "f32" });
    let file = if strided { "conv2d_dgrad" } else { "conv2d" };
    let source = epilogue.fill(shader).render(file)?;
    let target = if direct { Operand::Write } else { Operand::ScratchWrite(1) };
    let mut operands = vec![Operand::Read(0), Operand::ScratchRead(0), target];
    operands.extend(&epilogue.operands);
    let name = format!("{}_{tp}x{tc}", step.kernel.name());
    let product = Program { name, source, operands, record, grid: caps.grid(threads.div_ceil(lanes(caps))) };
    let mut lowered = Lowered { programs: vec![pack, product], scratch: vec![(packed * 4) as u64] };
    if !direct {
        let len = batch * groups * oc * oh * ow;
        lowered.scratch.push((len * 4) as u64);
        lowered.programs.push(split_sum(&conv.epilogue, step, plan, caps, 1, (len, 1))?);
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
    let to = if oc >= 8 && ic * unrolled <= 4 { 8 } else { oc.min(4) };
    let ti = ic.min(if unrolled <= 2 { 8 } else { 4 });
    let p = if ow % 4 == 0 { 4 } else { tile(ow, 7) };
    let (ot, it) = (oc.div_ceil(to), ic.div_ceil(ti));
    let tiles = ot * it * groups * kh * (kw / unrolled);
    let rows = batch * oh;
    // Enough threads to fill the device, and at least some rows each.
    let wanted: usize = if caps.software { 512 } else { 16_384 };
    let splits = wanted.div_ceil(tiles).min(rows.div_ceil(4)).max(1);
    let part = rows.div_ceil(splits).max(1);
    let splits = rows.div_ceil(part).max(1);
    let threads = tiles * splits;
    let len: usize = conv.w.iter().product();

    let direct = splits == 1 && conv.epilogue.is_identity();
    let record = vec![word(threads), word(rows), word(part), word(len)];
    let vec4_dy = p == 4 && ow % 4 == 0;
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
        .set("P", p)
        .set("GUARD", usize::from(ow % p != 0))
        .set("SPAN", (p - 1) * spec.stride[1] + (unrolled - 1) * spec.dilation[1] + 1)
        .set("SY", spec.stride[0])
        .set("SX", spec.stride[1])
        .set("DY", spec.dilation[0])
        .set("DX", spec.dilation[1])
        .set("PY", spec.padding[0])
        .set("PX", spec.padding[1])
        .set("LANES", lanes(caps))
        .set("DY_TYPE", if vec4_dy { "vec4<f32>" } else { "f32" });
    let source = Epilogue::none().fill(shader).render("conv2d_wgrad")?;
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

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
