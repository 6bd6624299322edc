//! Sorting and adding by index at sizes that users have, against loops on the host.

use crate::common::{Noise, close, device, upload, values};
use wgrad::{DType, Tensor};

#[test]
fn long_axes_are_sorted() {
    let mut noise = Noise(5);
    for (rows, n) in [(3, 65_537), (1, 1 << 20)] {
        let data: Vec<f64> = noise.values(rows * n, -3e4, 3e4).iter().map(|v| v.round()).collect();
        let x = upload(&data, &[rows, n], DType::F32, device());
        let (sorted, indices) = x.sort(1, true);
        let (sorted, indices) = (values(&sorted), values(&indices));
        for r in 0..rows {
            let row = &data[r * n..(r + 1) * n];
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|&a, &b| (row[b] + 0.0).total_cmp(&(row[a] + 0.0)));
            for (k, &i) in order.iter().enumerate() {
                let at = r * n + k;
                assert_eq!((indices[at], sorted[at]), (i as f64, row[i]), "place {k} of row {r} of {n}");
            }
        }
    }
}

#[test]
fn sorting_keeps_the_bits_of_what_it_moves() {
    let odd = [0.0f32, -0.0, f32::NAN, 1.0, -0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, 1e-40, -1e-40];
    for repeat in [1, 20] {
        let data: Vec<f32> = odd.iter().copied().cycle().take(odd.len() * repeat).collect();
        let x = Tensor::from_slice(&data, [data.len()], device()).expect("uploads");
        let (sorted, indices) = x.sort(0, false);
        let bits: Vec<u32> = sorted.to_vec::<f32>().expect("sorts").iter().map(|v| v.to_bits()).collect();
        let indices = indices.to_vec::<i32>().expect("sorts");
        let mut order: Vec<usize> = (0..data.len()).collect();
        order.sort_by(|&a, &b| data[a].partial_cmp(&data[b]).unwrap_or_else(|| data[a].is_nan().cmp(&data[b].is_nan())));
        assert_eq!(indices, order.iter().map(|&i| i as i32).collect::<Vec<_>>());
        assert_eq!(bits, order.iter().map(|&i| data[i].to_bits()).collect::<Vec<_>>());
    }
}

/// A vocabulary's gradient: rows that occur often, once and never; bit-identical on every run.
#[test]
fn embeddings_of_a_large_vocabulary_have_gradients() {
    let (rows, cols, n) = (50_257, 16, 8192);
    let mut noise = Noise(9);
    // A third of the words are one word, as padding is.
    let words: Vec<i32> = (0..n).map(|i| if i % 3 == 0 { 11 } else { (noise.next() * rows as f64) as i32 }).collect();
    let scale = noise.values(n * cols, -1.0, 1.0);
    let table = Tensor::zeros([rows, cols], device()).and_then(|t| t.variable()).expect("a table");
    let index = Tensor::from_slice(&words, [n], device()).expect("uploads");
    let scale_t = upload(&scale, &[n, cols], DType::F32, device());
    let gradient = || {
        let loss = (table.embedding(&index, None) * &scale_t).sum((), false);
        values(&loss.backward().expect("differentiable").get(&table).expect("a gradient"))
    };
    let mut expected = vec![0.0; rows * cols];
    for (i, &word) in words.iter().enumerate() {
        (0..cols).for_each(|c| expected[word as usize * cols + c] += scale[i * cols + c]);
    }
    let start = std::time::Instant::now();
    let got = gradient();
    println!("first gradient {:?}", start.elapsed());
    close("the table's gradient", &got, &expected, 1e-5, 1e-4);
    let start = std::time::Instant::now();
    assert_eq!(got, gradient(), "runs differ");
    println!("second gradient {:?}", start.elapsed());
}
