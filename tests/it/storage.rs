//! F16 and U8: packed storage, casts, views, rows, and ops that refuse them.

use crate::common::{device, open, oracle, values};
use wgrad::dtype::F16;
use wgrad::{DType, Error, HostData, Param, Result, Tensor, grad};

/// Lengths around whole words and whole workgroups.
const LENGTHS: [usize; 13] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 255, 256, 257];

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 37 + 11) as u8).collect()
}

fn bits(t: &Tensor) -> Vec<u16> {
    match t.to_host().unwrap_or_else(|e| panic!("{e}")) {
        HostData::F16(v) => v,
        other => panic!("{other:?} is not f16"),
    }
}

fn halves(bits: &[u16]) -> Tensor {
    Tensor::from_host(HostData::F16(bits.to_vec()), DType::F16, [bits.len()], device()).unwrap()
}

fn floats(v: &[f32]) -> Tensor {
    Tensor::from_slice(v, [v.len()], device()).unwrap()
}

/// The same values as I32, whose layout is plain, and packed, to be compared after the same views.
fn pair(n: usize, shape: &[usize], dtype: DType) -> (Tensor, Tensor) {
    let plain = Tensor::from_slice(&bytes(n).iter().map(|&b| i32::from(b)).collect::<Vec<_>>(), shape, device()).unwrap();
    let packed = plain.cast(dtype);
    packed.eval().unwrap();
    (packed, plain)
}

#[test]
fn odd_lengths_round_trip() {
    for n in LENGTHS {
        let host = bytes(n);
        let x = Tensor::from_slice(&host, [n], device()).unwrap();
        assert_eq!(x.to_vec::<u8>().unwrap(), host, "{n} bytes");
        assert_eq!(x.flip(0).flip(0).cast(DType::I32).cast(DType::U8).to_vec::<u8>().unwrap(), host, "{n} bytes by kernel");
        let later = x.flip(0).read_later().unwrap().wait().unwrap();
        assert_eq!(later, HostData::U8(host.iter().rev().copied().collect()), "{n} bytes later");
        let patterns: Vec<u16> = (0..n).map(|i| (i * 2_531 + 77) as u16 & 0x7BFF).collect();
        let x = halves(&patterns);
        assert_eq!(bits(&x), patterns, "{n} halves");
        assert_eq!(bits(&x.cast(DType::F32).cast(DType::F16)), patterns, "{n} halves by kernel");
        let reversed: Vec<u16> = patterns.iter().rev().copied().collect();
        assert_eq!(bits(&x.flip(0)), reversed, "{n} halves reversed");
        assert_eq!(x.to_vec::<F16>().unwrap().len(), n);
    }
}

#[test]
fn every_half_widens_and_returns_exactly() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    let wide = halves(&all).cast(DType::F32);
    let got = wide.to_vec::<f32>().unwrap();
    let back = bits(&wide.cast(DType::F16));
    for (k, &pattern) in all.iter().enumerate() {
        let expected = F16::from_bits(pattern).to_f32();
        if expected.is_nan() {
            assert!(got[k].is_nan() && F16::from_bits(back[k]).to_f32().is_nan(), "{pattern:#x}");
        } else {
            assert_eq!(got[k].to_bits(), expected.to_bits(), "{pattern:#x}");
            assert_eq!(back[k], pattern, "{pattern:#x} back");
        }
    }
    let truth = halves(&all).cast(DType::Bool).to_vec::<bool>().unwrap();
    assert!(truth.iter().zip(&all).all(|(&t, &p)| t == (p & 0x7FFF != 0)));
    assert_eq!(bits(&halves(&all).reshape([256, 256]).t().t()), all, "a view keeps all bits, those of NaN included");
}

#[test]
fn rounding_is_to_nearest_even_and_overflow_is_infinite() {
    let mut x = vec![65_519.996, 65_520.0, 1e30, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, 2.0f32.powi(-25), 0.0, -0.0];
    for pattern in (0..0x7BFFu16).step_by(7) {
        let tie = (F16::from_bits(pattern).to_f32() + F16::from_bits(pattern + 1).to_f32()) / 2.0;
        x.extend([tie, tie.next_up(), tie.next_down(), -tie]);
    }
    let expected: Vec<u16> = x.iter().map(|&v| F16::from_f32(v).to_bits()).collect();
    assert_eq!(expected[..6], [0x7BFF, 0x7C00, 0x7C00, 0x7C00, 0x7C00, 0xFC00]);
    assert_eq!(bits(&floats(&x).cast(DType::F16)), expected);
    let nan = floats(&[f32::NAN, 1.0]).cast(DType::F16);
    assert!(nan.cast(DType::F32).to_vec::<f32>().unwrap()[0].is_nan());
}

#[test]
fn casts_follow_the_table() {
    let float = [-1.5f32, -0.0, 0.4, 1.9, 255.0, 255.9, 256.0, 70_000.0, -3e9, f32::NAN, f32::INFINITY];
    let half: Vec<f32> = float.iter().map(|&x| F16::from_f32(x).to_f32()).collect();
    let int = [-1i32, 0, 1, 255, 256, 65_519, 65_520, i32::MIN];
    let all: Vec<u8> = (0..=255).collect();
    let (f, i) = (floats(&float), Tensor::from_slice(&int, [8], device()).unwrap());
    let (h, b) = (f.cast(DType::F16), Tensor::from_slice(&all, [256], device()).unwrap());
    assert_eq!(f.cast(DType::U8).to_vec::<u8>().unwrap(), float.map(|x| x as u8));
    assert_eq!(h.cast(DType::U8).to_vec::<u8>().unwrap(), half.iter().map(|&x| x as u8).collect::<Vec<_>>());
    assert_eq!(h.cast(DType::I32).to_vec::<i32>().unwrap(), half.iter().map(|&x| x as i32).collect::<Vec<_>>());
    assert_eq!(h.cast(DType::U32).to_vec::<u32>().unwrap(), half.iter().map(|&x| x as u32).collect::<Vec<_>>());
    assert_eq!(i.cast(DType::U8).to_vec::<u8>().unwrap(), int.map(|x| x as u8));
    assert_eq!(bits(&i.cast(DType::F16)), int.map(|x| F16::from_f32(x as f32).to_bits()));
    assert_eq!(bits(&b.gt_zero().cast(DType::F16))[..3], [0, 0x3C00, 0x3C00]);
    assert_eq!(b.gt_zero().cast(DType::U8).to_vec::<u8>().unwrap()[..3], [0, 1, 1]);
    for dtype in [DType::F32, DType::F16, DType::I32, DType::U32] {
        assert_eq!(values(&b.cast(dtype)), all.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), "u8 to {dtype}");
    }
    let wide = Tensor::from_slice(&float.map(f64::from), [float.len()], &oracle()).unwrap();
    assert_eq!(bits(&wide.cast(DType::F16))[..8], bits(&h)[..8], "f64 goes through f32");
    assert_eq!(wide.cast(DType::U8).to_vec::<u8>().unwrap(), float.map(|x| x as u8));
    assert_eq!(wide.cast(DType::F16).cast(DType::F64).to_vec::<f64>().unwrap()[2], f64::from(half[2]));
}

trait Truth {
    fn gt_zero(&self) -> Self;
}

impl Truth for Tensor {
    fn gt_zero(&self) -> Self {
        self.cast(DType::Bool)
    }
}

#[test]
fn views_of_every_layout_keep_the_elements() {
    type View = (&'static str, fn(&Tensor) -> Tensor);
    let views: [View; 9] = [
        ("itself", |t| t.clone()),
        ("permute", |t| t.permute(&[2, 0, 1])),
        ("slice", |t| t.slice(2, 1, 4)),
        ("step", |t| t.slice_step(2, 1, 5, 2)),
        ("flip", |t| t.flip(2).flip(0)),
        ("expand", |t| t.slice(0, 1, 2).expand([3, 3, 5])),
        ("pad", |t| t.pad(&[(1, 0), (0, 2), (3, 1)])),
        ("reshape", |t| t.permute(&[1, 0, 2]).reshape([15, 2])),
        ("cat", |t| Tensor::cat(&[t, &t.flip(1), &t.slice(1, 0, 1)], 1)),
    ];
    for dtype in [DType::U8, DType::F16] {
        let (packed, plain) = pair(30, &[2, 3, 5], dtype);
        for (name, view) in views {
            let expected = values(&view(&plain));
            let copy = view(&packed);
            assert_eq!(copy.dtype().unwrap(), dtype, "{name}");
            assert_eq!(values(&copy.cast(DType::F32)), expected, "{dtype} {name}, fused");
            assert_eq!(values(&copy), expected, "{dtype} {name}, copied");
            assert_eq!(values(&(copy.cast(DType::I32) + 1)), expected.iter().map(|x| x + 1.0).collect::<Vec<_>>(), "{name}");
        }
    }
}

#[test]
fn rows_are_gathered_whatever_their_length() {
    let index = Tensor::from_slice(&[2i32, 0, 2, 1, 1], [5], device()).unwrap();
    for dtype in [DType::U8, DType::F16] {
        for cols in [1, 2, 3, 4, 5, 8, 16, 17] {
            let (packed, plain) = pair(3 * cols, &[3, cols], dtype);
            let rows = packed.gather_rows(&index);
            assert_eq!(rows.dtype().unwrap(), dtype);
            assert_eq!(values(&rows), values(&plain.gather_rows(&index)), "{dtype} rows of {cols}");
        }
    }
}

#[test]
fn packed_images_are_unpacked_in_the_kernel_that_reads_them() {
    let device = open(false);
    for n in [4, 7, 784] {
        let images = Tensor::from_slice(&bytes(3 * n), [3, n], &device).unwrap();
        let before = device.counters().dispatches;
        let scaled = images.cast(DType::F32) * (1.0 / 255.0);
        scaled.eval().unwrap();
        assert_eq!(device.counters().dispatches - before, 1, "{}", scaled.explain().unwrap());
        let expected: Vec<f32> = bytes(3 * n).iter().map(|&b| f32::from(b) * (1.0 / 255.0)).collect();
        assert_eq!(scaled.to_vec::<f32>().unwrap(), expected);
        let total = images.cast(DType::F32).sum_dim(1);
        let sums: Vec<f64> = bytes(3 * n).chunks(n).map(|row| row.iter().map(|&b| f64::from(b)).sum()).collect();
        assert_eq!(values(&total), sums, "a reduction reads bytes");
    }
}

#[test]
fn halves_compute_in_f32() {
    let x = [0.1f32, 3.0, -2.5, 60_000.0];
    let h: Vec<f32> = x.iter().map(|&v| F16::from_f32(v).to_f32()).collect();
    let t = floats(&x).cast(DType::F16);
    let rows: [(&str, Tensor, Vec<f32>); 6] = [
        ("h + h", &t + &t, h.iter().map(|v| v + v).collect()),
        ("h * number", &t * 0.3, h.iter().map(|v| v * 0.3).collect()),
        ("h - f32", &t - &floats(&x), h.iter().zip(x).map(|(a, b)| a - b).collect()),
        ("abs", t.abs(), h.iter().map(|v| v.abs()).collect()),
        ("clamp", t.clamp(-1.0, 2.0), h.iter().map(|v| v.clamp(-1.0, 2.0)).collect()),
        ("max", t.max_keepdim(0), vec![60_000.0]),
    ];
    for (name, got, expected) in rows {
        assert_eq!(got.dtype().unwrap(), DType::F32, "{name}");
        assert_eq!(got.to_vec::<f32>().unwrap(), expected, "{name}");
    }
    assert_eq!(t.reshape([2, 2]).matmul(&floats(&[1.0, 0.0, 0.0, 1.0]).reshape([2, 2])).to_vec::<f32>().unwrap(), h);
    assert_eq!(t.zeros_like().dtype().unwrap(), DType::F16);
    assert_eq!(values(&Tensor::full_of([3], 7.0, DType::U8, device()).unwrap()), [7.0; 3]);
    assert_eq!(values(&Tensor::iota(3, DType::F16, device()).unwrap()), [0.0, 1.0, 2.0]);
    assert_eq!(format!("{t}").lines().last(), Some("f16 [4]"));
}

#[test]
fn gradients_flow_through_casts_with_the_precision_of_halves() {
    let w = [0.1f32, -7.3, 1e-8, 1e6];
    let x = floats(&[1.0, 2.0, 3.0, 4.0]).variable().unwrap();
    let stored = x.cast(DType::F16);
    let rounded: Vec<f32> = w.iter().map(|&v| F16::from_f32(v).to_f32()).collect();
    for (name, wide) in
        [("explicit", stored.cast(DType::F32)), ("implicit", &stored * 1.0), ("view", stored.flip(0).flip(0) + 0.0)]
    {
        let loss = (wide * floats(&w)).sum();
        let gradients = loss.backward().unwrap();
        assert_eq!(gradients.get(&x).unwrap().to_vec::<f32>().unwrap(), rounded, "{name}");
        assert_eq!(grad(&loss, &[&stored]).unwrap()[0].dtype().unwrap(), DType::F32);
    }
    let table = stored.reshape([2, 2]).gather_rows(&Tensor::from_slice(&[1i32, 1], [2], device()).unwrap());
    let gradients = table.cast(DType::F32).sum().backward().unwrap();
    assert_eq!(gradients.get(&x).unwrap().to_vec::<f32>().unwrap(), [0.0, 0.0, 2.0, 2.0]);
}

#[test]
fn cells_of_storage_types_are_assigned() {
    for (dtype, n) in [(DType::U8, 7), (DType::U8, 8), (DType::F16, 7), (DType::F16, 8)] {
        let (packed, plain) = pair(n, &[n], dtype);
        let cell = Param::buffer(&packed).unwrap();
        cell.set(&packed.flip(0)).unwrap();
        assert_eq!(values(&cell.tensor()), values(&plain.flip(0)), "{dtype}");
        cell.set(&(cell.tensor().cast(DType::I32) + 0).cast(dtype)).unwrap();
        assert_eq!(values(&cell.tensor()), values(&plain.flip(0)), "{dtype} in place");
    }
}

#[test]
fn wrong_uses_name_the_remedy() {
    let b = || Tensor::from_slice(&[1u8, 2, 3, 4], [2, 2], device()).unwrap();
    let h = || b().cast(DType::F16);
    let i = || b().cast(DType::I32);
    let u = |r: Result<Vec<f32>>| r.map(|_| b());
    let rows: Vec<(&str, Result<Tensor>, &str)> = vec![
        ("add", Ok(b() + b()), "cast it to f32"),
        ("mul", Ok(b() * 2.0), "cast it to f32"),
        ("lt", Ok(b().lt(&b())), "cast it to f32"),
        ("relu", Ok(b().relu()), "cast it to f32"),
        ("sum", Ok(b().sum()), "cast it to f32"),
        ("argmax", Ok(b().argmax_dim(1)), "cast it to f32"),
        ("softmax", Ok(b().softmax(1)), "cast it to f32"),
        ("matmul", Ok(b().matmul(&b())), "cast it to f32"),
        ("add", Ok(h() + i()), "cast one"),
        ("logical_and", Ok(h().logical_and(&h())), "compare"),
        ("where", Ok(b().gt_zero().where_(&b(), &h())), "cast one"),
        ("to_vec", u(h().to_vec()), "cast it first"),
        ("Param::new", Param::new(&h()).map(|_| b()), "cast it"),
        ("from_host", Tensor::from_host(HostData::F32(vec![1.0]), DType::F16, [1], device()), "dtype"),
    ];
    for (op, result, remedy) in rows {
        let error = result.and_then(|t| t.eval()).expect_err(op);
        assert!(matches!(error, Error::Op(_) | Error::Argument { .. }), "{op}: {error:?}");
        let message = error.to_string();
        assert!(message.contains(op) && message.contains(remedy), "{op}: {message}");
    }
}
