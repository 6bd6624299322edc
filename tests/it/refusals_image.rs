//! Wrong calls of normalisation, attention, convolutions and image ops: as in `refusals`.

use crate::common::{device, upload};
use crate::refusals::WrongCall;
use wgrad::nn::{
    BatchNorm1d, BatchNorm3d, ConvTranspose2d, GroupNorm, Init, InstanceNorm2d, Module, MultiheadAttention,
    MultiheadAttentionConfig,
};
use wgrad::{
    AttentionOptions, ConvOptions, ConvTransposeOptions, DType, FoldOptions, Generator, GridOptions, Interpolation, PoolOptions,
    Tensor,
};

fn f(shape: &[usize]) -> Tensor {
    upload(&vec![0.5; shape.iter().product()], shape, DType::F32, device())
}

fn i(shape: &[usize]) -> Tensor {
    f(shape).cast(DType::I32)
}

type Row = (&'static str, Tensor, Vec<&'static str>);

fn norms() -> Vec<Row> {
    vec![
        ("layer_norm", f(&[2, 3]).layer_norm([2], None, None, 1e-5), vec!["[2, 3]", "[2]", "last axes"]),
        ("layer_norm", f(&[2, 3]).layer_norm((), None, None, 1e-5), vec!["last axes"]),
        ("layer_norm", f(&[2, 3]).layer_norm([3], Some(&f(&[2])), None, 1e-5), vec!["[3]", "reshape"]),
        ("layer_norm", f(&[2, 3]).layer_norm([3], Some(&i(&[3])), None, 1e-5), vec!["i32", "cast"]),
        ("layer_norm", f(&[2, 3]).layer_norm([3], None, None, -1.0), vec!["eps = -1"]),
        ("layer_norm", i(&[2, 3]).layer_norm([3], None, None, 1e-5), vec!["floating"]),
        ("rms_norm", f(&[2, 3]).rms_norm([4], None, None), vec!["last axes"]),
        ("rms_norm", f(&[2, 3]).rms_norm([3], Some(&f(&[4])), None), vec!["[4]", "[3]"]),
        ("rms_norm", f(&[2, 3]).rms_norm([3], None, Some(f64::NAN)), vec!["eps = NaN"]),
        ("group_norm", f(&[2, 3, 4]).group_norm(2, None, None, 1e-5), vec!["2 groups", "3 channels"]),
        ("group_norm", f(&[2, 3, 4]).group_norm(0, None, None, 1e-5), vec!["0 groups"]),
        ("group_norm", f(&[2]).group_norm(1, None, None, 1e-5), vec!["fewer than 2 axes"]),
        ("instance_norm", f(&[2, 3]).instance_norm(None, None, 1e-5), vec!["fewer than 3 axes"]),
        ("instance_norm", f(&[2, 3, 1]).instance_norm(None, None, 1e-5), vec!["one value"]),
        ("instance_norm", f(&[2, 3, 4]).instance_norm(None, Some(&f(&[4])), 1e-5), vec!["[3]"]),
        ("batch_norm", f(&[1, 3]).batch_norm(None, None, 1e-5).0, vec!["one value"]),
        ("batch_norm", f(&[2, 3]).batch_norm(Some(&f(&[2])), None, 1e-5).1, vec!["[3]"]),
        ("batch_norm", f(&[2]).batch_norm(None, None, 1e-5).2, vec!["fewer than 2 axes"]),
        ("batch_norm_with", f(&[2, 3]).batch_norm_with(&f(&[2]), &f(&[3]), None, None, 1e-5), vec!["[2]", "[3]"]),
        ("batch_norm_with", f(&[2, 3]).batch_norm_with(&f(&[3]), &i(&[3]), None, None, 1e-5), vec!["i32"]),
        ("batch_norm_with", f(&[2, 3]).batch_norm_with(&f(&[3]), &f(&[3]), None, None, -0.5), vec!["eps"]),
    ]
}

fn attention() -> Vec<Row> {
    let plain = AttentionOptions::default;
    let attend = |q: &[usize], k: &[usize], v: &[usize], options: AttentionOptions| {
        f(q).scaled_dot_product_attention(&f(k), &f(v), &options)
    };
    let masked = |mask: Tensor| attend(&[2, 3], &[4, 3], &[4, 3], AttentionOptions { mask: Some(mask), ..plain() });
    let dropout = Some((1.5, Generator::new(0)));
    let name = "scaled_dot_product_attention";
    vec![
        (name, attend(&[3], &[2, 3], &[2, 3], plain()), vec!["at least 2 axes"]),
        (name, attend(&[2, 3], &[2, 4], &[2, 3], plain()), vec!["3 channels", "4"]),
        (name, attend(&[2, 3], &[2, 3], &[4, 3], plain()), vec!["2 keys", "4 values"]),
        (name, attend(&[2, 2, 3], &[3, 2, 3], &[2, 3], plain()), vec!["leading axes"]),
        (name, f(&[2, 3]).scaled_dot_product_attention(&i(&[2, 3]), &f(&[2, 3]), &plain()), vec!["dtypes"]),
        (name, masked(f(&[3, 4])), vec!["[3, 4]", "[2, 4]"]),
        (name, masked(i(&[2, 4])), vec!["i32"]),
        (name, attend(&[2, 3], &[2, 3], &[2, 3], AttentionOptions { dropout, ..plain() }), vec!["probability"]),
        (name, attend(&[2, 3], &[2, 3], &[2, 3], AttentionOptions { block: Some(0), ..plain() }), vec!["block"]),
    ]
}

fn convolutions() -> Vec<Row> {
    let (line, cube) = (ConvOptions::<1>::default, ConvOptions::<3>::default);
    let (line_t, flat_t, cube_t) =
        (ConvTransposeOptions::<1>::default, ConvTransposeOptions::<2>::default, ConvTransposeOptions::<3>::default);
    let conv1 = |x: &[usize], w: &[usize], o| f(x).conv1d(&f(w), None, o);
    let conv3 = |x: &[usize], w: &[usize], o| f(x).conv3d(&f(w), None, o);
    let up1 = |x: &[usize], w: &[usize], o| f(x).conv_transpose1d(&f(w), None, o);
    let up2 = |x: &[usize], w: &[usize], o| f(x).conv_transpose2d(&f(w), None, o);
    let up3 = |x: &[usize], w: &[usize], o| f(x).conv_transpose3d(&f(w), None, o);
    vec![
        ("conv1d", conv1(&[1, 2, 4, 4], &[3, 2, 2], line()), vec!["3 axes"]),
        ("conv1d", conv1(&[1, 2, 4], &[3, 3, 2], line()), vec!["2 channels"]),
        ("conv1d", conv1(&[1, 2, 4], &[3, 2, 5], line()), vec!["longer than 4"]),
        ("conv1d", conv1(&[1, 2, 4], &[3, 2, 0], line()), vec!["no taps"]),
        ("conv1d", conv1(&[1, 2, 4], &[3, 2, 2], ConvOptions { stride: [0], ..line() }), vec!["stride"]),
        ("conv1d", f(&[1, 2, 4]).conv1d(&f(&[3, 2, 2]), Some(&f(&[2])), line()), vec!["[3]"]),
        ("conv1d", f(&[1, 2, 4]).conv1d(&i(&[3, 2, 2]), None, line()), vec!["i32"]),
        ("conv1d", conv1(&[1, 2, 4], &[3, 2, 2], ConvOptions { dilation: [usize::MAX], ..line() }), vec!["longer than 4"]),
        ("conv1d", f(&[1, 2, 4]).conv1d(&f(&[3, 2, 2]), Some(&f(&[3])), line().bias(false)), vec!["bias", "None"]),
        ("conv3d", conv3(&[1, 2, 4, 4], &[3, 2, 2, 2], cube()), vec!["5 axes"]),
        ("conv3d", conv3(&[1, 2, 4, 4, 4], &[3, 2, 5, 1, 1], cube()), vec!["5 taps"]),
        ("conv3d", conv3(&[1, 2, 4, 4, 4], &[3, 2, 1, 1, 1], ConvOptions { groups: 0, ..cube() }), vec!["groups"]),
        ("conv_transpose1d", up1(&[1, 2], &[2, 3, 2], line_t()), vec!["3 axes"]),
        ("conv_transpose1d", up1(&[1, 2, 4], &[3, 3, 2], line_t()), vec!["2 channels"]),
        (
            "conv_transpose1d",
            up1(&[1, 2, 4], &[2, 3, 2], ConvTransposeOptions { output_padding: [1], ..line_t() }),
            vec!["output_padding"],
        ),
        ("conv_transpose2d", up2(&[1, 2, 0, 4], &[2, 3, 2, 2], flat_t()), vec!["length 0"]),
        (
            "conv_transpose2d",
            up2(&[1, 2, 1, 1], &[2, 3, 2, 2], ConvTransposeOptions { padding: [1, 1], ..flat_t() }),
            vec!["leaves nothing"],
        ),
        ("conv_transpose2d", up2(&[1, 3, 4, 4], &[3, 1, 2, 2], ConvTransposeOptions { groups: 2, ..flat_t() }), vec!["2 groups"]),
        ("conv_transpose2d", f(&[1, 2, 4, 4]).conv_transpose2d(&f(&[2, 3, 2, 2]), Some(&f(&[2])), flat_t()), vec!["[3]"]),
        ("conv_transpose3d", up3(&[1, 2, 4, 4], &[2, 3, 2, 2], cube_t()), vec!["5 axes"]),
        ("conv_transpose3d", up3(&[1, 2, 2, 2, 2], &[3, 1, 1, 1, 1], cube_t()), vec!["channels"]),
        (
            "conv_transpose3d",
            up3(&[1, 2, 2, 2, 2], &[2, 1, 1, 1, 1], ConvTransposeOptions { stride: [1, 0, 1], ..cube_t() }),
            vec!["stride"],
        ),
        ("pad_same", f(&[1, 2, 4]).pad_same(&[2, 2], &[1]), vec!["2 taps"]),
        ("pad_same", f(&[4]).pad_same(&[2, 2], &[1, 1]), vec!["1 axes"]),
        ("pad_same", f(&[4]).pad_same(&[0], &[1]), vec!["at least 1"]),
    ]
}

fn images() -> Vec<Row> {
    let plain = PoolOptions::default;
    let linear = Interpolation::Linear;
    let mut rows: Vec<Row> = vec![
        ("avg_pool1d", f(&[1, 2, 4]).avg_pool1d_with(2, PoolOptions::default().dilation(2)), vec!["dilation"]),
        ("avg_pool3d", f(&[1, 2, 4, 4, 4]).avg_pool3d_with(2, PoolOptions::default().dilation(2)), vec!["dilation"]),
        ("global_avg_pool", f(&[1, 2]).global_avg_pool(), vec!["no axis"]),
        ("global_avg_pool", f(&[1, 2, 0]).global_avg_pool(), vec!["length 0"]),
        ("global_avg_pool", i(&[1, 2, 3]).global_avg_pool(), vec!["floating"]),
        ("global_max_pool", f(&[1, 2]).global_max_pool(), vec!["no axis"]),
        ("global_max_pool", f(&[1, 2, 0]).global_max_pool(), vec!["length 0"]),
        ("global_max_pool", i(&[1, 2, 3]).global_max_pool(), vec!["floating"]),
        ("unfold", f(&[2, 4, 4]).unfold(2, FoldOptions::default()), vec!["4 axes"]),
        ("unfold", f(&[1, 2, 4, 4]).unfold(5, FoldOptions::default()), vec!["longer than 4"]),
        ("unfold", f(&[1, 2, 4, 4]).unfold(0, FoldOptions::default()), vec!["at least 1"]),
        ("fold", f(&[1, 8, 9]).fold([4, 5], 2, FoldOptions::default()), vec!["3 x 4 windows"]),
        ("fold", f(&[1, 7, 9]).fold([4, 4], 2, FoldOptions::default()), vec!["unfold"]),
        ("fold", f(&[1, 8, 9]).fold([1, 4], 2, FoldOptions::default()), vec!["longer than 1"]),
        ("interpolate", f(&[1, 2, 4]).interpolate(&[2, 2], linear), vec!["2 lengths"]),
        ("interpolate", f(&[1, 2, 4]).interpolate(&[0], linear), vec!["at least 1"]),
        ("interpolate", f(&[1, 2, 4]).interpolate(&[usize::MAX], linear), vec!["too large"]),
        ("interpolate", i(&[1, 2, 4]).interpolate(&[3], Interpolation::Nearest), vec!["floating"]),
        ("grid_sample", f(&[1, 2, 4, 4]).grid_sample(&f(&[2, 3, 3, 2]), GridOptions::default()), vec!["do not fit"]),
        ("grid_sample", f(&[1, 2, 4, 4]).grid_sample(&f(&[1, 3, 3, 3]), GridOptions::default()), vec!["do not fit"]),
        ("grid_sample", f(&[1, 2, 4, 4]).grid_sample(&i(&[1, 3, 3, 2]), GridOptions::default()), vec!["i32"]),
        ("grid_sample", f(&[1, 2, 0, 4]).grid_sample(&f(&[1, 3, 3, 2]), GridOptions::default()), vec!["empty"]),
        ("affine_grid", f(&[1, 3, 2]).affine_grid([2, 2], GridOptions::default()), vec!["[n, 2, 3]"]),
        ("affine_grid", f(&[1, 2, 3]).affine_grid([2, 0], GridOptions::default()), vec!["empty"]),
        ("affine_grid", i(&[1, 2, 3]).affine_grid([2, 2], GridOptions::default()), vec!["floating"]),
    ];
    type Pool1 = (&'static str, fn(&Tensor, usize, PoolOptions<1>) -> Tensor);
    let ones: [Pool1; 2] = [("max_pool1d", |x, k, o| x.max_pool1d_with(k, o)), ("avg_pool1d", |x, k, o| x.avg_pool1d_with(k, o))];
    for (name, pool) in ones {
        rows.push((name, pool(&f(&[2, 4]), 2, plain()), vec!["3 axes"]));
        rows.push((name, pool(&f(&[1, 2, 4]), 5, plain()), vec!["longer than 4"]));
        rows.push((name, pool(&f(&[1, 2, 4]), 3, plain().padding(2)), vec!["half"]));
        rows.push((name, pool(&f(&[1, 2, 4]), 0, plain()), vec!["at least 1"]));
    }
    type Pool3 = (&'static str, fn(&Tensor, usize) -> Tensor);
    let threes: [Pool3; 2] = [("max_pool3d", |x, k| x.max_pool3d(k)), ("avg_pool3d", |x, k| x.avg_pool3d(k))];
    for (name, pool) in threes {
        rows.push((name, pool(&f(&[1, 2, 4, 4]), 2), vec!["5 axes"]));
        rows.push((name, pool(&f(&[1, 2, 4, 4, 4]), 5), vec!["longer than 4"]));
        rows.push((name, pool(&i(&[1, 2, 4, 4, 4]), 2), vec!["floating"]));
    }
    type Adaptive = (&'static str, fn(&Tensor, [usize; 2]) -> Tensor);
    let adaptive: [Adaptive; 2] =
        [("adaptive_avg_pool2d", |x, s| x.adaptive_avg_pool2d(s)), ("adaptive_max_pool2d", |x, s| x.adaptive_max_pool2d(s))];
    for (name, pool) in adaptive {
        rows.push((name, pool(&f(&[2, 4, 4]), [2, 2]), vec!["4 axes"]));
        rows.push((name, pool(&f(&[1, 2, 4, 4]), [0, 2]), vec!["at least 1"]));
        rows.push((name, pool(&f(&[1, 2, 0, 4]), [2, 2]), vec!["empty"]));
        rows.push((name, pool(&f(&[1, 2, 4, 4]), [usize::MAX, 2]), vec!["too large"]));
    }
    rows.extend([
        ("adaptive_avg_pool1d", f(&[2, 3]).adaptive_avg_pool1d(1), vec!["3 axes"]),
        ("adaptive_avg_pool1d", f(&[2, 3, 4]).adaptive_avg_pool1d(0), vec!["[0]"]),
        ("adaptive_avg_pool1d", f(&[2, 3, 0]).adaptive_avg_pool1d(1), vec!["empty"]),
        ("adaptive_max_pool1d", f(&[2, 3]).adaptive_max_pool1d(1), vec!["3 axes"]),
        ("adaptive_max_pool1d", f(&[2, 3, 4]).adaptive_max_pool1d(0), vec!["[0]"]),
        ("adaptive_max_pool1d", f(&[2, 3, 4]).adaptive_max_pool1d(usize::MAX), vec!["too large"]),
        ("adaptive_avg_pool3d", f(&[1, 2, 3, 4]).adaptive_avg_pool3d([1; 3]), vec!["5 axes"]),
        ("adaptive_avg_pool3d", f(&[1, 2, 3, 4, 5]).adaptive_avg_pool3d([1, 0, 1]), vec!["[1, 0, 1]"]),
        ("adaptive_avg_pool3d", f(&[1, 2, 3, 0, 5]).adaptive_avg_pool3d([1; 3]), vec!["empty"]),
        ("adaptive_max_pool3d", f(&[1, 2, 3, 4]).adaptive_max_pool3d([1; 3]), vec!["5 axes"]),
        ("adaptive_max_pool3d", f(&[1, 2, 3, 4, 5]).adaptive_max_pool3d([0, 1, 1]), vec!["[0, 1, 1]"]),
        ("adaptive_max_pool3d", f(&[1, 2, 0, 4, 5]).adaptive_max_pool3d([1; 3]), vec!["empty"]),
    ]);
    rows
}

pub fn rows() -> Vec<WrongCall> {
    let rows = norms().into_iter().chain(attention()).chain(convolutions()).chain(images());
    rows.map(|(op, tensor, parts)| WrongCall::new(op, Ok(tensor), &parts)).collect()
}

#[test]
fn layers_refuse_what_does_not_fit() {
    let init = Init::new(device(), 0);
    let text = |r: wgrad::Result<Tensor>| r.expect_err("refused").to_string();
    assert!(text(BatchNorm1d::new(3, &init).and_then(|l| l.forward(&f(&[2, 4])))).contains("4 channels, and the layer takes 3"));
    assert!(text(BatchNorm1d::new(3, &init).and_then(|l| l.forward(&f(&[2, 3, 2, 2])))).contains("[n, channels, l]"));
    assert!(text(BatchNorm1d::new(3, &init).and_then(|l| l.forward(&f(&[1, 3])))).contains("at least 2 values"));
    assert!(text(BatchNorm3d::new(3, &init).and_then(|l| l.forward(&f(&[2, 3])))).contains("[n, channels, d, h, w]"));
    assert!(text(InstanceNorm2d::new(3, &init).and_then(|l| l.forward(&f(&[2, 2, 4, 4])))).contains("2 channels"));
    assert!(text(MultiheadAttention::new(4, 2, &init).and_then(|l| l.forward(&f(&[2, 3])))).contains("the layer takes 4"));
    assert!(GroupNorm::new(2, 3, &init).is_err());
    assert!(MultiheadAttention::new(4, 3, &init).is_err());
    assert!(MultiheadAttention::with(4, 2, MultiheadAttentionConfig { dropout: 1.5, ..Default::default() }, &init).is_err());
    let options = ConvTransposeOptions { groups: 2, ..ConvTransposeOptions::default() };
    assert!(ConvTranspose2d::with(3, 4, 2, options, &init).is_err());
}
