//! Loaders of data sets: what an epoch contains, in which order, and where a resumed run continues.

use crate::common::device;
use std::sync::Arc;
use wgrad::data::transforms::{GaussianNoise, Lambda};
use wgrad::data::{DataLoader, Dataset, VecDataset};
use wgrad::io::StateDict;
use wgrad::{Error, Generator, Result, Tensor};

fn numbers(len: i32, batch: usize) -> DataLoader<VecDataset<i32>> {
    DataLoader::new(VecDataset((0..len).collect()), batch, device()).unwrap()
}

fn read(batch: Result<Tensor>) -> Vec<i32> {
    batch.unwrap().to_vec().unwrap()
}

#[test]
fn batches_cover_the_set_once() {
    // len, batch, drop_last -> batches, samples
    let rows = [
        (10, 4, false, 3, 10),
        (10, 4, true, 2, 8),
        (8, 4, false, 2, 8),
        (3, 8, false, 1, 3),
        (3, 8, true, 0, 0),
        (0, 1, false, 0, 0),
    ];
    for (len, batch, drop_last, batches, samples) in rows {
        let loader = numbers(len, batch).shuffle(true).seed(1).drop_last(drop_last);
        assert_eq!((loader.len(), loader.samples()), (batches, samples), "{len}/{batch}");
        assert_eq!((loader.epoch(0).len(), loader.is_empty()), (batches, batches == 0));
        let mut all: Vec<i32> = loader.epoch(0).flat_map(read).collect();
        assert_eq!(all.len(), samples);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), samples, "a sample came twice");
    }
    let message = DataLoader::new(VecDataset(vec![5]), 0, device()).unwrap_err().to_string();
    assert!(message.contains("[DataLoader::new]") && message.contains("help: "), "{message}");
}

#[test]
fn order_depends_on_seed_and_epoch_alone() {
    let order = |seed, epoch| numbers(50, 7).shuffle(true).seed(seed).epoch(epoch).flat_map(read).collect::<Vec<_>>();
    assert_eq!(order(1, 2), order(1, 2));
    assert_ne!(order(1, 2), order(1, 3));
    assert_ne!(order(1, 2), order(2, 2));
    let loader = numbers(50, 7).shuffle(true).seed(1);
    assert_eq!(loader.epoch(2).skip(3).flat_map(read).collect::<Vec<_>>(), order(1, 2)[21..]);
    assert_eq!(numbers(5, 2).epoch(3).flat_map(read).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn loops_count_epochs_and_a_state_resumes_them_to_the_bit() {
    let noise = || GaussianNoise::new(1.0).unwrap();
    let floats = || VecDataset((0..10u8).map(f32::from).collect());
    let new = |seed| DataLoader::new(floats(), 3, device()).unwrap().shuffle(true).seed(seed);
    let new = |seed| new(seed).with_transform(noise());
    let values = |batch: Result<Tensor>| batch.unwrap().to_vec::<f32>().unwrap();
    let whole = new(4);
    let epochs: Vec<Vec<Vec<f32>>> = (0..3).map(|_| whole.iter().map(values).collect()).collect();
    assert_eq!(whole.position(), (3, 0));
    assert_ne!(epochs[0], epochs[1]);
    let pure: Vec<Vec<f32>> = whole.epoch(1).map(values).collect();
    assert_eq!((pure, whole.position()), (epochs[1].clone(), (3, 0)), "epoch() is the same epoch, and changes nothing");

    for stop in 0..12 {
        let first = new(4);
        for (i, _) in (0..3).flat_map(|_| &first).enumerate() {
            // The batch has been handed out; inside the loop, the state says which one comes next.
            if i == stop {
                break;
            }
        }
        let next = (stop + 1) % 12;
        assert_eq!(first.position(), ((stop + 1) / 4, next % 4), "{stop}");
        let mut resumed = new(4);
        resumed.load_state_dict(&first.state_dict()).unwrap();
        let rest: Vec<Vec<f32>> = (first.position().0..3).flat_map(|_| &resumed).map(values).collect();
        assert_eq!(rest, epochs.concat()[stop + 1..], "{stop}");
    }

    // After a loop is left early, the next loop begins the next epoch.
    let left = new(4);
    left.iter().nth(1);
    assert_eq!(left.position(), (0, 2));
    assert_eq!(left.iter().map(values).collect::<Vec<_>>(), epochs[1]);

    let mut middle = new(4);
    middle.iter().next();
    let (state, position) = (middle.state_dict(), middle.position());
    let without = |key: &str| {
        let mut state = state.clone();
        state.metadata.remove(key);
        state
    };
    let with = |key: &str, value: &str| {
        let mut state = state.clone();
        state.metadata.insert(key.into(), value.into());
        state
    };
    let rows = [
        (StateDict::new(), "loader.epoch is missing"),
        (without("loader.seed"), "loader.seed is missing"),
        (with("loader.batch", "-1"), "loader.batch is \"-1\""),
        (with("loader.batch", "4"), "batch 4 of 4"),
        (with("loader.samples", "11"), "samples is 10, and 11 in the state"),
        (with("loader.batch_size", "4"), "batch_size is 3"),
        (with("loader.shuffle", "false"), "shuffle is true"),
        (with("loader.drop_last", "true"), "drop_last is false"),
    ];
    for (state, expected) in rows {
        let message = middle.load_state_dict(&state).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains("help: "), "{message}");
        assert_eq!(middle.position(), position, "{expected}");
    }
    assert!(new(5).load_state_dict(&state).unwrap_err().to_string().contains("seed is 5, and 4 in the state"));
    // Between epochs settings may change.
    let mut other = new(5);
    other.load_state_dict(&with("loader.batch", "0")).unwrap();
    assert_eq!(other.position(), (0, 0));
}

#[test]
fn boxed_sets_are_sets_and_threads_share_a_loader() {
    let numbers = || VecDataset(vec![1, 2, 3]);
    let sets: [(Box<dyn Dataset<Sample = i32>>, i32); 2] =
        [(Box::new(numbers()), 6), (Box::new(Arc::new(numbers()).map(|x| Ok(10 * x))), 60)];
    for (set, expected) in sets {
        let loader = DataLoader::new(set, 2, device()).unwrap().shuffle(true);
        let sums = std::thread::scope(|scope| {
            let threads = [0, 1].map(|epoch| {
                scope.spawn({
                    let loader = &loader;
                    move || loader.epoch(epoch).flat_map(read).sum::<i32>()
                })
            });
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!(sums, [expected; 2]);
    }
}

#[test]
fn transforms_change_inputs_alone_and_in_order() {
    let samples = VecDataset(vec![(2.0f32, 7), (3.0, 8)]);
    let loader = DataLoader::new(&samples, 2, device()).unwrap();
    let loader = loader.with_transform(Lambda(|x: &Tensor, _: &Generator| Ok(x + 1.0)));
    let loader = loader.with_transform(Lambda(|x: &Tensor, _: &Generator| Ok(x * 10.0)));
    let (x, y) = loader.clone().epoch(0).next().unwrap().unwrap();
    assert_eq!((x.to_vec::<f32>().unwrap(), y.to_vec::<i32>().unwrap()), (vec![30.0, 40.0], vec![7, 8]));
    let failing = loader.with_transform(Lambda(|_: &Tensor, _: &Generator| Err(Error::argument("mine", "no", "try"))));
    assert!(failing.epoch(0).next().unwrap().unwrap_err().to_string().contains("[mine]"));
}
