//! Wrong calls of data sets, loaders, transforms, files and devices.

use super::{HUGE, IMPROBABLE, Table, elsewhere, f};
use crate::common::device;
use std::path::Path;
use wgrad::data::transforms::{
    AffineConfig, ColorJitter, CutMix, Cutout, FrequencyMasking, GaussianBlur, GaussianNoise, Mixup, Normalize, RandomAffine,
    RandomCrop, RandomGrayscale, RandomHorizontalFlip, RandomVerticalFlip, Resize, TimeMasking, TimeShift, Transform,
};
use wgrad::data::{
    AudioClips, ByteTokenizer, CharTokenizer, DataLoader, Dataset, LabelledImages, LogMel, MelConfig, Mnist, Subset,
    TensorDataset, Tokenizer, Tokens, VecDataset, draw_per_class, idx, random_split, read_text, split, split_stratified,
};
use wgrad::io::{HostTensor, StateDict, atomic};
use wgrad::nn::{Init, Linear, Module};
use wgrad::train::Checkpoint;
use wgrad::{DType, Device, DeviceKind, DeviceOptions, Generator, HostData, Shape};

pub fn rows(t: &mut Table) {
    sets(t);
    transforms(t);
    files(t);
    devices(t);
}

fn g() -> Generator {
    Generator::new(1)
}

fn sets(t: &mut Table) {
    t.each("DataLoader::new", &[0usize], |n| DataLoader::new(VecDataset(vec![1i32]), n, device()).map(drop));
    t.each("DataLoader::load_state_dict of nothing", &[0], |_| {
        DataLoader::new(VecDataset(vec![1i32]), 1, device())?.load_state_dict(&StateDict::new())
    });
    t.each("TensorDataset::new", &[vec![], vec![3usize], vec![0, 2]], |s| TensorDataset::new((f(&[2, 2]), f(&s))).map(drop));
    t.each("TensorDataset::batch", &[vec![2usize], vec![0, usize::MAX]], |n| {
        TensorDataset::new(f(&[2, 2]))?.batch(&n, device())?.eval()
    });
    t.each("TensorDataset::get", &HUGE, |n| TensorDataset::new(f(&[2, 2]))?.get(n)?.eval());
    t.each("VecDataset::batch", &HUGE, |n| VecDataset(vec![1i32, 2]).batch(&[n], device()).map(drop));
    t.each("VecDataset::get", &HUGE, |n| VecDataset(vec![1i32, 2]).get(n).map(drop));
    t.each("Subset::new", &[vec![2usize], vec![0, usize::MAX]], |n| Subset::new(VecDataset(vec![1i32, 2]), n).map(drop));
    t.each("Subset::get", &HUGE, |n| Subset::new(VecDataset(vec![1i32, 2]), vec![0])?.get(n).map(drop));
    t.each("VecDataset::batch of vectors of two lengths", &[0], |_| {
        VecDataset(vec![vec![1.0f32], vec![1.0, 2.0]]).batch(&[0, 1], device()).map(drop)
    });
    t.each("LabelledImages::new, pixels", &[0usize, 3, 5, 9], |n| LabelledImages::new([1, 2, 2], vec![0; n], vec![0]).map(drop));
    t.each("LabelledImages::new, sizes", &HUGE, |n| LabelledImages::new([1, n, 2], vec![0; 4], vec![0]).map(drop));
    t.each("LabelledImages::subset", &HUGE, |n| LabelledImages::new([1, 1, 1], vec![0], vec![0])?.subset(&[n]).map(drop));
    t.each("LabelledImages::of_classes", &[vec![1i32], vec![0, 0], vec![-1]], |c| {
        LabelledImages::new([1, 1, 1], vec![0], vec![0])?.of_classes(&c).map(drop)
    });
    t.each("LabelledImages::batch", &HUGE, |n| LabelledImages::new([1, 1, 1], vec![0], vec![0])?.batch(&[n], device()).map(drop));
    t.each("split, shares", &[[0.5, 0.6], [-0.5, 1.5], [f64::NAN, 0.5], [0.5, 0.4], [f64::INFINITY, 0.5]], |s| {
        split(10, s, 1).map(drop)
    });
    t.each("split, counts", &[[5usize, 6], [usize::MAX, 11], [0, 9], [11, 0]], |s| split(10, s, 1).map(drop));
    t.each("random_split", &[[5usize, 6], [usize::MAX, 4]], |s| random_split(VecDataset(vec![1i32, 2]), s, 1).map(drop));
    t.each("split_stratified", &[[0.5, 0.6], [-0.5, 1.5], [f64::NAN, 0.5]], |s| split_stratified(&[0, 1, 0, 1], s, 1).map(drop));
    t.each("draw_per_class", &[0usize, 3, usize::MAX], |n| draw_per_class(&[0, 1, 0, 1], n, 1).map(drop));
    t.each("Generator::permutation", &HUGE, |n| g().permutation(n, 0).map(drop));
    t.each("CharTokenizer::of", &[""], |text| CharTokenizer::of(text).map(drop));
    t.each("CharTokenizer::encode", &["x", "abx", "\u{1F600}"], |text| CharTokenizer::of("abc")?.encode(text).map(drop));
    t.each("CharTokenizer::decode", &[3i32, -1, i32::MAX, i32::MIN], |n| CharTokenizer::of("abc")?.decode(&[n]).map(drop));
    t.each("ByteTokenizer::decode", &[256i32, -1, i32::MAX, i32::MIN], |n| ByteTokenizer.decode(&[n]).map(drop));
    t.each("Tokens::windows", &[0usize], |n| Tokens::new(vec![1; 8]).windows(n).map(drop));
    t.each("Windows::stride", &[0usize], |n| Tokens::new(vec![1; 8]).windows(2)?.stride(n).map(drop));
    t.each("Windows::draw, count", &HUGE, |n| Tokens::new(vec![1; 8]).windows(2)?.draw(n, &g(), 0).map(drop));
    t.each("Windows::draw, length", &[8usize, 9, usize::MAX], |n| Tokens::new(vec![1; 8]).windows(n)?.draw(1, &g(), 0).map(drop));
    t.each("Windows::batch", &HUGE, |n| Tokens::new(vec![1; 8]).windows(2)?.batch(&[n], device()).map(drop));
    t.each("Tokens::split", &[[0.5, 0.6], [f64::NAN, 0.5]], |s| Tokens::new(vec![1; 8]).split(s).map(drop));
    t.each("LogMel::new, window", &HUGE, |n| LogMel::new(MelConfig { window: n, ..MelConfig::default() }, device()).map(drop));
    t.each("LogMel::new, bands", &[0usize, usize::MAX, usize::MAX >> 20], |n| {
        LogMel::new(MelConfig { bands: n, ..MelConfig::default() }, device()).map(drop)
    });
    t.each("LogMel::new, hop", &[0usize], |n| LogMel::new(MelConfig { hop: n, ..MelConfig::default() }, device()).map(drop));
    t.each("LogMel::new, rate", &[0u32], |n| LogMel::new(MelConfig { rate: n, ..MelConfig::default() }, device()).map(drop));
    t.each(
        "LogMel::new, range",
        &[(-1.0, 10.0), (f64::NAN, 10.0), (10.0, 5.0), (0.0, f64::INFINITY), (0.0, f64::NAN)],
        |(low, high)| LogMel::new(MelConfig { low, high, ..MelConfig::default() }, device()).map(drop),
    );
}

fn transforms(t: &mut Table) {
    t.each("RandomHorizontalFlip::new", &IMPROBABLE, |p| RandomHorizontalFlip::new(p).map(drop));
    t.each("RandomVerticalFlip::new", &IMPROBABLE, |p| RandomVerticalFlip::new(p).map(drop));
    t.each("RandomGrayscale::new", &IMPROBABLE, |p| RandomGrayscale::new(p).map(drop));
    t.each("GaussianNoise::new", &[-1.0, f64::NAN, f64::INFINITY], |n| GaussianNoise::new(n).map(drop));
    t.each("GaussianBlur::new, radius", &HUGE, |n| GaussianBlur::new(n, (1.0, 2.0)).map(drop));
    t.each("GaussianBlur::new, width", &[(0.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (1.0, f64::INFINITY), (-1.0, 1.0)], |s| {
        GaussianBlur::new(1, s).map(drop)
    });
    t.each("ColorJitter::new, brightness", &[-1.0, f64::NAN, f64::INFINITY], |n| ColorJitter::new(n, 0.1, 0.1).map(drop));
    t.each("ColorJitter::new, contrast", &[-1.0, f64::NAN, f64::INFINITY], |n| ColorJitter::new(0.1, n, 0.1).map(drop));
    t.each("ColorJitter::new, saturation", &[-1.0, f64::NAN, f64::INFINITY], |n| ColorJitter::new(0.1, 0.1, n).map(drop));
    t.each("Mixup::new", &[0.0, -1.0, f64::NAN, f64::INFINITY], |n| Mixup::new(n).map(drop));
    t.each("CutMix::new", &[0.0, -1.0, f64::NAN, f64::INFINITY], |n| CutMix::new(n).map(drop));
    t.each("Normalize::new", &[vec![], vec![0.0], vec![-1.0], vec![f64::NAN], vec![1.0, 1.0]], |std| {
        Normalize::new(&[0.5], &std, device()).map(drop)
    });
    t.each("RandomAffine::new, size", &HUGE, |n| RandomAffine::new(AffineConfig::default(), [n, 2], device()).map(drop));
    t.each("RandomAffine::new, shift", &[-1.0, f64::NAN, f64::INFINITY], |shift| {
        RandomAffine::new(AffineConfig { shift, ..AffineConfig::default() }, [4, 4], device()).map(drop)
    });
    t.each("RandomAffine::new, scale", &[-1.0, 1.0, f64::NAN, f64::INFINITY], |scale| {
        RandomAffine::new(AffineConfig { scale, ..AffineConfig::default() }, [4, 4], device()).map(drop)
    });
    t.each("RandomAffine::new, rotation", &[f64::NAN, f64::INFINITY], |rotate| {
        RandomAffine::new(AffineConfig { rotate, ..AffineConfig::default() }, [4, 4], device()).map(drop)
    });
    macro_rules! inputs {
        ($($name:literal, $transform:expr, $shapes:expr;)*) => {$(
            t.each(concat!($name, ", input"), &$shapes, |s: Vec<usize>| $transform.apply(&f(&s), &g())?.check());
            t.each(concat!($name, ", another dtype"), &[DType::I32, DType::Bool], |d| $transform.apply(&f(&$shapes[0]).cast(d), &g())?.check());
        )*};
    }
    inputs! {
        "RandomHorizontalFlip", RandomHorizontalFlip::new(0.5)?, [vec![], vec![4usize]];
        "RandomVerticalFlip", RandomVerticalFlip::new(0.5)?, [vec![], vec![4usize]];
        "RandomCrop", RandomCrop::new([3, 3]), [vec![], vec![4usize], vec![1, 1, 2, 2]];
        "Resize", (Resize { size: [3, 3] }), [vec![], vec![4usize]];
        "ColorJitter", ColorJitter::new(0.1, 0.1, 0.1)?, [vec![], vec![4usize], vec![1, 2, 2, 2]];
        "RandomGrayscale", RandomGrayscale::new(0.5)?, [vec![], vec![4usize], vec![1, 2, 2, 2]];
        "GaussianBlur", GaussianBlur::new(1, (0.5, 1.0))?, [vec![], vec![4usize]];
        "Cutout", (Cutout { size: 2 }), [vec![], vec![4usize]];
        "TimeMasking", TimeMasking::new(2), [vec![], vec![4usize]];
        "FrequencyMasking", FrequencyMasking::new(2), [vec![], vec![4usize]];
        "Normalize", Normalize::new(&[0.5, 0.5], &[1.0, 1.0], device())?, [vec![], vec![4usize], vec![1, 3, 2, 2]];
        "LogMel", LogMel::new(MelConfig::default(), device())?, [vec![], vec![4usize], vec![1, 4]];
    }
    t.each("TimeShift", &HUGE, |n| TimeShift { limit: n }.apply(&f(&[2, 4]), &g())?.check());
    t.each("RandomCrop, size", &HUGE, |n| RandomCrop::new([n, 2]).apply(&f(&[1, 1, 4, 4]), &g())?.check());
    t.each("RandomCrop, padding", &HUGE, |n| RandomCrop::new([2, 2]).padding(n).apply(&f(&[1, 1, 4, 4]), &g())?.check());
    t.each("Resize, size", &HUGE, |n| Resize { size: [n, 2] }.apply(&f(&[1, 1, 4, 4]), &g())?.check());
    t.each("Mixup::apply", &[vec![], vec![3usize], vec![3, 2]], |s| Mixup::new(0.5)?.apply(&f(&[2, 4]), &f(&s), &g())?.1.check());
    t.each("CutMix::apply", &[vec![], vec![3usize], vec![3, 2]], |s| {
        CutMix::new(0.5)?.apply(&f(&[2, 1, 4, 4]), &f(&s), &g())?.1.check()
    });
}

fn files(t: &mut Table) {
    const NOWHERE: [&str; 3] = ["/nonexistent/x", "", "/"];
    t.each("StateDict::load", &NOWHERE, |p| StateDict::load(p).map(drop));
    t.each("Checkpoint::load", &NOWHERE, |p| Checkpoint::load(p).map(drop));
    t.each("Module::load", &NOWHERE, |p| Linear::new(2, 2, &Init::new(device(), 0))?.load(p));
    t.each("read_text", &NOWHERE, |p| read_text(p).map(drop));
    t.each("idx::read", &NOWHERE, |p| idx::read(Path::new(p), 1).map(drop));
    t.each("Mnist::load", &["/nonexistent/x"], |p| Mnist::load(p).map(drop));
    t.each("AudioClips::load", &["/nonexistent/x"], |p| AudioClips::load(p).map(drop));
    t.each("load_self_test", &["/"], |p| device().load_self_test(p).map(drop));
    t.each("StateDict::save", &["", "/", "/proc/none/x"], |p| StateDict::new().save(p));
    t.each("atomic::write", &["", "/", "/proc/none/x", "/dev/null"], |p| atomic::write(Path::new(p), b"x"));
    t.each("Module::save", &["", "/", "/proc/none/x"], |p| Linear::new(2, 2, &Init::new(device(), 0))?.save(p));
    t.each("StateDict::insert twice", &["", "a"], |name| {
        let mut dict = StateDict::new();
        dict.insert(name, HostTensor::scalar(1.0))?;
        dict.insert(name, HostTensor::scalar(1.0))
    });
    t.each("StateDict::tensor", &["", "b", "a.weight"], |name| {
        let mut dict = StateDict::new();
        dict.insert("a", HostTensor::scalar(1.0))?;
        dict.tensor(name, device()).map(drop)
    });
    t.each("StateDict::note", &["", "b"], |name| StateDict::new().note::<usize>(name).map(drop));
    t.each("StateDict::save of a reserved name", &["__metadata__"], |name| {
        let mut dict = StateDict::new();
        dict.insert(name, HostTensor::scalar(1.0))?;
        dict.save("never")
    });
    t.each("HostTensor::new, length", &[0usize, 1, 3, 4], |n| {
        HostTensor::new(DType::F32, Shape::new(&[2])?, HostData::F32(vec![0.0; n])).map(drop)
    });
    t.each("HostTensor::new, dtype", &[DType::F32, DType::F16, DType::F64, DType::U8, DType::U32], |d| {
        HostTensor::new(d, Shape::new(&[2])?, HostData::I32(vec![0; 2])).map(drop)
    });
    t.each("HostTensor::from_slice", &[vec![], vec![3usize], vec![usize::MAX, 2], vec![1; 9]], |s| {
        HostTensor::from_slice(&[1.0f32, 2.0], s).map(drop)
    });
}

fn devices(t: &mut Table) {
    t.each(
        "Device::named",
        &["", " ", "no such device", "99999", "18446744073709551616", "-1", "dx12:", ":", "vulkan:nobody"],
        |n| Device::named(n).map(drop),
    );
    t.each("Device::named_with", &["", "no such device", "99999"], |n| Device::named_with(n, DeviceOptions::default()).map(drop));
    t.each("a device with no memory", &[1u64, 100], |bytes| {
        let device = Device::cpu_with(DeviceOptions { memory: Some(bytes), ..DeviceOptions::default() })?;
        (wgrad::Tensor::ones([1000], &device)? + 1.0).eval()
    });
    t.each("to_device of a wrong call", &[0], |_| f(&[2]).reshape([3]).to_device(elsewhere()).map(drop));
    if !Device::list().iter().any(|d| d.kind == DeviceKind::Gpu) {
        t.each("Device::first without a GPU", &[0], |_| Device::first(DeviceKind::Gpu, DeviceOptions::default()).map(drop));
    }
}
