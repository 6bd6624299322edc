//! Names of values: each stands for one value, and a duplicate is refused wherever names meet.

use crate::common::{device, values};
use wgrad::data::AudioClips;
use wgrad::io::{HostTensor, StateDict};
use wgrad::nn::{
    Conv1d, Fields, Gru, Init, LoadOptions, Lstm, Module, RecurrentConfig, Relu, Residual, Sequential, fields, summary, transfer,
};
use wgrad::nn::{Counter, Linear};
use wgrad::optim::{AdamConfig, Sgd, SgdConfig, split_decay};
use wgrad::train::Checkpoint;
use wgrad::{Param, Result, Tensor};

fn linear() -> Linear {
    Linear::new(3, 3, &Init::new(device(), 0)).unwrap()
}

/// Lists its fields by hand.
struct Listed(fn(&mut Fields, &[Param; 2], &Counter));

impl Module for Listed {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.clone())
    }
    fn fields(&self, fields: &mut Fields) {
        let param = || Param::new(&Tensor::ones([3], device()).unwrap()).unwrap();
        (self.0)(fields, &[param(), param()], &Counter::default());
    }
}

#[test]
fn two_values_under_one_name_are_the_models_first_error() {
    let new = Sequential::new;
    let inner = || new().push_named("fc", linear());
    let twice = || new().push_named("a", linear()).push_named("a", linear());
    let rows: [(&str, Box<dyn Module>, &str); 13] = [
        ("a position", Box::new(new().push_named("1", linear()).push(linear())), "[Sequential::push] two layers are named \"1\""),
        ("a name", Box::new(twice()), "[Sequential::push_named] two layers are named \"a\""),
        ("layers without values", Box::new(new().push_named("a", Relu).push_named("a", Relu)), "named \"a\""),
        ("of three, the first", Box::new(twice().push_named("", linear())), "two layers are named \"a\""),
        ("a name within", Box::new(new().push_named("b", inner()).push_named("b.fc", linear())), "named \"b.fc.weight\""),
        ("a name around", Box::new(new().push_named("b.fc", linear()).push_named("b", inner())), "named \"b.fc.weight\""),
        ("no name", Box::new(new().push_named("", linear())), "the name \"\" is empty"),
        ("half a name", Box::new(new().push_named("a.", linear())), "the name \"a.\" is empty or has an empty part"),
        ("a layer of a layer", Box::new(new().push(Relu).push(twice())), "two layers are named \"a\""),
        ("a branch", Box::new(Residual::new(twice())), "two layers are named \"a\""),
        ("two parameters", Box::new(Listed(|f, [a, b], _| (f.parameter("w", a), f.parameter("w", b)).1)), "named \"w\""),
        ("a buffer", Box::new(Listed(|f, [a, b], _| (f.parameter("w", a), f.buffer("w", b)).1)), "named \"w\""),
        ("a counter", Box::new(Listed(|f, [a, _], n| (f.parameter("w", a), f.add("w", n)).1)), "two values are named \"w\""),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let x = Tensor::ones([2, 3], device()).unwrap();
    let sound = linear();
    let mut sgd = Sgd::new(&sound.parameters().unwrap(), SgdConfig::default()).unwrap();
    let good = Checkpoint::capture(&sound, &sgd).unwrap();
    let empty = StateDict::new();
    for (name, model, expected) in rows {
        let model = &*model;
        let mut outcomes = vec![
            ("check", model.check()),
            ("parameters", model.parameters().map(|_| ())),
            ("named_parameters", model.named_parameters().map(|_| ())),
            ("named_buffers", model.named_buffers().map(|_| ())),
            ("state_dict", model.state_dict().map(|_| ())),
            ("save", model.state_dict().and_then(|dict| dict.save(&path))),
            ("load_state_dict", model.load_state_dict(&empty)),
            ("load_state_dict_partial", model.load_state_dict_partial(&empty).map(|_| ())),
            ("load_state_dict_with", model.load_state_dict_with(&empty, &LoadOptions::lenient()).map(|_| ())),
            ("summary", summary(model, [2, 3]).map(|_| ())),
            ("freeze by name", transfer::freeze(model, "*").map(|_| ())),
            ("param_groups", transfer::param_groups(model, [("*", ())]).map(|_| ())),
            ("split_decay", split_decay(model, AdamConfig::default(), AdamConfig::default()).map(|_| ())),
            ("capture", Checkpoint::capture(model, &sgd).map(|_| ())),
            ("restore", good.restore(model, &mut sgd).map(|_| ())),
        ];
        if !name.starts_with("two") && !["a buffer", "a counter"].contains(&name) {
            outcomes.push(("forward", model.forward(&x).map(|_| ())));
        }
        for (what, outcome) in outcomes {
            let message = outcome.expect_err(&format!("{name}: {what}")).to_string();
            assert!(message.contains(expected) && message.contains("help: "), "{name}: {what}: {message}");
            // A push names its line.
            assert!(message.contains("Module::fields") || message.contains("names.rs:"), "{name}: {what}: {message}");
        }
        // Methods that return no `Result` still work.
        model.freeze();
        model.eval();
    }
    assert!(!path.exists());
    let message = Sequential::new().push(Relu).push(twice()).check().unwrap_err().to_string();
    assert!(message.contains("in layer 1: two layers"), "{message}");
}

#[test]
fn one_value_may_have_several_names() {
    struct Tied {
        encoder: Linear,
        decoder: Linear,
    }
    impl Module for Tied {
        fn forward(&self, x: &Tensor) -> Result<Tensor> {
            self.decoder.forward(&self.encoder.forward(x)?)
        }
        fields!(encoder, decoder);
    }
    let (encoder, mut decoder) = (linear(), linear());
    decoder.weight = encoder.weight.clone();
    let tied = Tied { encoder, decoder };
    let block = |name: &str| Sequential::new().push_named(name, linear());
    let rows: [(&str, Box<dyn Module>, usize, usize); 5] = [
        ("tied weights", Box::new(tied), 4, 3),
        ("one value twice", Box::new(Listed(|f, [a, _], _| (f.parameter("w", a), f.parameter("w", a)).1)), 2, 1),
        ("levels with dots", Box::new(Sequential::new().push_named("a.x", linear()).push_named("a", block("y"))), 4, 4),
        ("a name before another", Box::new(Sequential::new().push_named("a", linear()).push_named("ab", linear())), 4, 4),
        ("a later position", Box::new(Sequential::new().push_named("0", linear()).push(linear())), 4, 4),
    ];
    for (name, model, names, parameters) in rows {
        assert_eq!(model.named_parameters().unwrap().len(), names, "{name}");
        assert_eq!(model.parameters().unwrap().len(), parameters, "{name}");
        let file = model.state_dict().unwrap();
        model.load_state_dict(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn a_replaced_layer_may_not_take_a_name() {
    let inner = |name: &str| Sequential::new().push_named(name, linear());
    let mut model = Sequential::new().push_named("a", inner("x")).push_named("a.y", linear());
    let before = model.state_dict().unwrap();
    let message = model.replace("a", inner("y")).unwrap_err().to_string();
    assert!(message.contains("[Sequential::replace]") && message.contains("\"a.y.weight\""), "{message}");
    assert_eq!(model.state_dict().unwrap(), before);
    model.replace("a", inner("z")).unwrap();
    assert_eq!(model.named_parameters().unwrap()[0].0, "a.z.weight");
}

#[test]
fn names_in_files_are_the_layers_not_the_parameters() {
    let init = Init::new(device(), 0);
    let config = RecurrentConfig { num_layers: 2, bidirectional: true, ..RecurrentConfig::default() };
    let layers: [Box<dyn Module>; 4] = [
        Box::new(Lstm::with(2, 3, config, &init).unwrap()),
        Box::new(Gru::new(2, 3, &init).unwrap()),
        Box::new(linear()),
        Box::new(Conv1d::new(2, 3, 3, &init).unwrap()),
    ];
    for layer in layers {
        let names = || layer.named_parameters().unwrap().into_iter().map(|e| e.0).collect::<Vec<_>>();
        let before = names();
        layer.parameters().unwrap().iter().for_each(|p| p.set_name("mine"));
        assert_eq!(names(), before);
    }
}

#[test]
fn raw_identifiers_lose_their_mark() {
    struct Net {
        r#gen: Linear,
        r#type: Option<Linear>,
        scale: f64,
    }
    impl Module for Net {
        fn forward(&self, x: &Tensor) -> Result<Tensor> {
            self.r#gen.forward(&(x * self.scale))
        }
        fields!(r#gen, r#type; skip scale);
    }
    let net = Net { r#gen: linear(), r#type: Some(linear()), scale: 2.0 };
    let names: Vec<String> = net.named_parameters().unwrap().into_iter().map(|e| e.0).collect();
    assert_eq!(names, ["gen.weight", "gen.bias", "type.weight", "type.bias"]);
    let x = Tensor::ones([1, 3], device()).unwrap();
    assert_eq!(summary(&net, [1, 3]).unwrap().rows[0].name, "gen");
    assert_eq!(values(&net.forward(&x).unwrap()).len(), 3);
}

#[test]
fn files_have_one_place_for_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let one = || HostTensor::scalar(1.0);
    let mut dict = StateDict::new();
    dict.insert("a.b", one()).unwrap();
    dict.insert("c", one()).unwrap();
    let before = dict.clone();
    let mut other = StateDict::new();
    other.insert("a", HostTensor::scalar(2.0)).unwrap();
    other.insert("b", HostTensor::scalar(2.0)).unwrap();
    for (what, outcome) in [
        ("[StateDict::insert] there is a tensor \"c\"", dict.insert("c", HostTensor::scalar(2.0))),
        ("[StateDict::insert_all] there is a tensor \"a.b\"", dict.insert_all("a.", other)),
    ] {
        let message = outcome.unwrap_err().to_string();
        assert!(message.contains(what) && message.contains("help: "), "{message}");
    }
    assert_eq!(dict, before, "nothing is added");
    dict.insert("__metadata__", one()).unwrap();
    let message = dict.save(&path).unwrap_err().to_string();
    assert!(message.contains("\"__metadata__\"") && !path.exists(), "{message}");

    // A file from another program, with one name twice.
    let entry = |from: usize| format!(r#""w":{{"dtype":"F32","shape":[1],"data_offsets":[{from},{}]}}"#, from + 4);
    let header = format!("{{{},{}}}", entry(0), entry(4));
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 8]].concat();
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(StateDict::load(&path), Err(wgrad::Error::Format { .. })));
}

#[test]
fn a_word_has_one_label() {
    let words = ["one", "two", "one"].map(String::from);
    let message = AudioClips::load_only("no/such/folder", &words).unwrap_err().to_string();
    assert!(message.contains("the word \"one\" is listed twice") && message.contains("help: "), "{message}");
    assert!(matches!(AudioClips::load_only("no/such/folder", &words[1..]), Err(wgrad::Error::Io { .. })));
}

#[test]
fn notes_and_states_of_a_checkpoint_have_names_of_their_own() {
    let model = linear();
    let mut sgd = Sgd::new(&model.parameters().unwrap(), SgdConfig::default()).unwrap();
    let state = |value: f64| {
        let mut dict = StateDict::new();
        dict.insert("x", HostTensor::scalar(value)).unwrap();
        dict.metadata.insert("note".into(), "1".into());
        dict
    };
    let mut noted = StateDict::new();
    noted.metadata.insert("note".into(), "2".into());
    type Add<'a> = Box<dyn Fn(Checkpoint) -> Checkpoint + 'a>;
    let rows: [(Add, &str); 6] = [
        (Box::new(|c| c.with("epoch", 1).with("epoch", 2)), "there is a note \"epoch\" already"),
        (Box::new(|c| c.with("state.a.note", 2)), "the key \"state.a.note\""),
        (Box::new(|c| c.with_state("a", state(1.0)).with_state("a", state(2.0))), "there is a state \"a\" already"),
        (Box::new(|c| c.with_state("a", state(1.0)).with_state("a", noted.clone())), "there is a state \"a\" already"),
        (Box::new(|c| c.with_state("a.b", state(1.0))), "the name \"a.b\" is empty or has a dot"),
        (Box::new(|c| c.with_state("", state(1.0)).with("epoch", 1).with("epoch", 2)), "the name \"\" is empty"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    for (add, expected) in rows {
        let checkpoint = add(Checkpoint::capture(&model, &sgd).unwrap());
        let outcomes = [
            checkpoint.save(&path),
            checkpoint.note::<usize>("epoch").map(|_| ()),
            checkpoint.state("a").map(|_| ()),
            checkpoint.restore(&model, &mut sgd).map(|_| ()),
        ];
        for outcome in outcomes {
            let message = outcome.unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("help: "), "{message}");
        }
        assert!(!path.exists());
    }
    let checkpoint = Checkpoint::capture(&model, &sgd).unwrap().with("epoch", 1);
    let checkpoint = checkpoint.with_state("a", state(1.0)).with_state("ab", state(2.0));
    assert_eq!((checkpoint.state("a").unwrap(), checkpoint.state("ab").unwrap()), (state(1.0), state(2.0)));
    checkpoint.restore(&model, &mut sgd).unwrap();
}
