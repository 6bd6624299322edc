//! Loading with rules, freezing by name, groups, schedules, heads and cached features; calls that are refused change nothing.

use crate::common::{device, values};
use wgrad::io::StateDict;
use wgrad::nn::models::{ResNet, ResNetConfig};
use wgrad::nn::transfer::{self, LoadOptions, UnfreezeSchedule};
use wgrad::nn::{BatchNorm1d, Dropout, Init, Linear, Module, Sequential};
use wgrad::optim::{Sgd, SgdConfig};
use wgrad::{HostData, Tensor};

fn model(seed: u64, trunk: &str) -> Sequential {
    let init = Init::new(device(), seed);
    Sequential::new()
        .push_named(trunk, Linear::new(3, 4, &init).unwrap())
        .push_named("bn", BatchNorm1d::new(4, &init).unwrap())
        .push_named("drop", Dropout::new(0.5, &init).unwrap())
        .push_named("head", Linear::new(4, 2, &init).unwrap())
}

#[test]
fn rules_rename_transpose_and_report() {
    let (source, target) = (model(1, "body.0"), model(2, "trunk"));
    let mut file = source.state_dict().unwrap();
    let weight = file.tensors.get_mut("body.0.weight").unwrap();
    let HostData::F32(data) = &weight.data else { panic!("f32") };
    let turned = (0..12).map(|i| data[i % 4 * 3 + i / 4]).collect();
    *weight = wgrad::io::HostTensor::new(wgrad::DType::F32, wgrad::Shape::new(&[3, 4]).unwrap(), HostData::F32(turned)).unwrap();
    let renaming = LoadOptions::strict().rename("body.0.*", "trunk.*");
    let message = target.load_state_dict_with(&file, &renaming).unwrap_err().to_string();
    assert!(message.contains("trunk.weight") && message.contains("transposed"), "{message}");
    target.load_state_dict_with(&file, &renaming.transpose("trunk.weight")).unwrap();
    let (a, b) = (source.named_parameters().unwrap(), target.named_parameters().unwrap());
    assert!(a.iter().zip(&b).all(|(a, b)| values(&a.1.tensor()) == values(&b.1.tensor())));

    file.tensors.remove("bn.running_var");
    let report = target.load_state_dict_with(&file, &LoadOptions::lenient().ignore("head.*")).unwrap();
    assert_eq!(report.unexpected, ["body.0.bias", "body.0.weight"]);
    assert_eq!(report.missing, ["trunk.weight", "trunk.bias", "head.weight", "head.bias", "bn.running_var"]);
    let text = report.to_string();
    assert!(text.contains("loaded 4 tensors") && text.contains("5 missing:\n  trunk.weight"), "{text}");
}

#[test]
fn what_is_refused_changes_nothing() {
    let target = model(3, "trunk");
    let before = target.state_dict().unwrap();
    let file = |edit: fn(&mut StateDict)| {
        let mut dict = model(4, "trunk").state_dict().unwrap();
        edit(&mut dict);
        dict
    };
    let wide = |dict: &mut StateDict| {
        let other = Linear::new(4, 3, &Init::new(device(), 0)).unwrap().state_dict().unwrap();
        dict.tensors.extend(other.tensors.into_iter().map(|(name, tensor)| (format!("head.{name}"), tensor)));
    };
    let strict = LoadOptions::strict;
    type Edit = fn(&mut StateDict);
    let rows: Vec<(Edit, LoadOptions, &str)> = vec![
        (|d| drop(d.tensors.remove("head.bias")), strict(), "head.bias is missing"),
        (|d| d.insert_all("x.", d.under("head.")).unwrap(), strict(), "x.bias and x.weight are unknown to the module"),
        (wide, LoadOptions::lenient(), "head.weight is f32 [3, 4] in the file and f32 [2, 4]"),
        (|_| (), strict().rename("body.*", "trunk.*"), "\"body.*\" matches no name"),
        (|_| (), strict().rename("head.*", "trunk.*"), "would be named trunk."),
        (|_| (), strict().rename("head.weight", "head.*"), "more stars"),
        (|_| (), strict().transpose("tail.*"), "\"tail.*\" matches no name"),
        (|_| (), strict().transpose("head.*"), "head.bias is [2], not a matrix"),
    ];
    for (edit, options, expected) in rows {
        let message = target.load_state_dict_with(&file(edit), &options).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains("help: "), "{message}");
        assert_eq!(target.state_dict().unwrap(), before, "{expected}");
    }
    let report = target.load_state_dict_with(&file(wide), &LoadOptions::strict().skip_mismatched()).unwrap();
    assert_eq!(report.mismatched.iter().map(|m| m.0.as_str()).collect::<Vec<_>>(), ["head.weight", "head.bias"]);
    for result in [transfer::freeze(&target, "tail.*"), transfer::unfreeze(&target, "x*y")] {
        assert!(result.unwrap_err().to_string().contains("matches no name"));
    }
}

#[test]
fn parts_train_at_their_own_rates_and_times() {
    let net = model(5, "trunk");
    let schedule = UnfreezeSchedule::new([(0, "head.*"), (2, "bn.*"), (4, "trunk.*")]);
    for (epoch, trained) in [(4, 6), (0, 2), (1, 2), (2, 4), (3, 4), (9, 6)] {
        assert_eq!(schedule.apply(&net, epoch).unwrap().len(), trained, "epoch {epoch}");
    }
    assert!(UnfreezeSchedule::new([(0, "head.*"), (1, "tail.*")]).apply(&net, 0).is_err());
    let rate = |lr| SgdConfig { lr, ..SgdConfig::default() };
    let groups = transfer::param_groups(&net, [("head.*", rate(0.1)), ("*", rate(0.01))]).unwrap();
    assert_eq!(groups.iter().map(|g| g.params.len()).collect::<Vec<_>>(), [2, 4]);
    assert!(Sgd::with_groups(groups).is_ok());
    let message = transfer::param_groups(&net, [("head.*", rate(0.1))]).unwrap_err().to_string();
    assert!(message.contains("trunk.weight first"), "{message}");
}

#[test]
fn heads_must_fit_and_features_are_computed_once() {
    let init = Init::new(device(), 6);
    let config = ResNetConfig { classes: 3, width: 2, small_images: true, ..ResNetConfig::default() };
    let mut net = ResNet::new(config, &init).unwrap();
    let message = net.set_head(Linear::new(8, 2, &init).unwrap()).unwrap_err().to_string();
    assert!(message.contains("takes 8 features") && message.contains("gives 16"), "{message}");
    net.set_head(Linear::new(16, 2, &init).unwrap()).unwrap();
    let images = Tensor::rand([5, 3, 8, 8], &init.generator, device()).unwrap();
    let batches = [images.slice(0, 0, 3), images.slice(0, 3, 5)].into_iter().map(Ok);
    let before = net.state_dict().unwrap();
    let features = transfer::extract_features(&net, batches, |x| net.features(x)).unwrap();
    assert_eq!(features.shape, [5, 16]);
    assert_eq!(net.state_dict().unwrap(), before, "running statistics stay");
    net.eval();
    let whole = net.features(&images).unwrap();
    crate::common::near("features", &features.data.to_f64(), &values(&whole), 1e-5);
    let message = Linear::new(4, 2, &init).unwrap().forward(&whole).unwrap_err().to_string();
    assert!(message.contains("Linear") && message.contains("the layer takes 4"), "{message}");
}
