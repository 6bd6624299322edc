//! Sorting and adding by index at realistic sizes, against loops on the host.

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
    // A third of the tokens are the same one, as with padding.
    let words: Vec<i32> = (0..n).map(|i| if i % 3 == 0 { 11 } else { (noise.next() * rows as f64) as i32 }).collect();
    let scale = noise.values(n * cols, -1.0, 1.0);
    let table = Tensor::zeros([rows, cols], device()).and_then(|t| t.variable()).expect("a table");
    let index = Tensor::from_slice(&words, [n], device()).expect("uploads");
    let scale_t = upload(&scale, &[n, cols], DType::F32, device());
    let gradient = || {
        let loss = (table.embedding(&index, None) * &scale_t).sum();
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

#[test]
fn many_indices_are_scattered_by_sorting() {
    for (rows, len, count) in [(2, 300, 500), (3, 70, 65), (1, 1000, 5), (1, 65_537, 70_001)] {
        let mut noise = Noise(19);
        let at: Vec<usize> = (0..rows * count).map(|_| (noise.next() * (len as f64 * 0.8)) as usize).collect();
        let index = upload(&at.iter().map(|&p| p as f64).collect::<Vec<_>>(), &[rows, count], DType::I32, device());
        // Sums of these exceed 31 bits, and wrap around.
        let whole = |noise: &mut Noise, n| noise.values(n, -2e9, 2e9).iter().map(|v| v.trunc()).collect::<Vec<f64>>();
        let (x, src) = (whole(&mut noise, rows * len), whole(&mut noise, rows * count));
        let (mut put, mut sums) = (x.clone(), x.iter().map(|&v| v as i32).collect::<Vec<_>>());
        for (k, &p) in at.iter().enumerate() {
            let to = k / count * len + p;
            put[to] = src[k];
            sums[to] = sums[to].wrapping_add(src[k] as i32);
        }
        let what = format!("{rows} rows of {len} by {count}");
        for dtype in [DType::I32, DType::F32] {
            let (x, src) = (upload(&x, &[rows, len], dtype, device()), upload(&src, &[rows, count], dtype, device()));
            assert_eq!(values(&x.scatter(1, &index, &src)), put, "scatter, {what}, {dtype}");
            assert_eq!(values(&x.t().scatter(0, &index.t(), &src.t()).t()), put, "scatter of columns, {what}, {dtype}");
            if dtype == DType::I32 {
                let got = x.scatter_add(1, &index, &src).to_vec::<i32>().expect("integers");
                assert_eq!(got, sums, "scatter_add, {what}");
            }
        }
    }
}

#[test]
fn gradients_of_many_scattered_elements_flow_to_the_last_writers() {
    let (len, count) = (90, 120);
    let mut noise = Noise(23);
    let at: Vec<usize> = (0..count).map(|_| (noise.next() * len as f64) as usize).collect();
    let index = upload(&at.iter().map(|&p| p as f64).collect::<Vec<_>>(), &[count], DType::I32, device());
    let weights = noise.values(len, -1.0, 1.0);
    let variable = |n| upload(&vec![1.0; n], &[n], DType::F32, device()).variable().expect("float");
    let (x, src) = (variable(len), variable(count));
    let loss = (x.scatter(0, &index, &src) * upload(&weights, &[len], DType::F32, device())).sum();
    let g = loss.backward().expect("differentiable");
    let (mut dx, mut dsrc) = (weights.clone(), vec![0.0; count]);
    let mut last = vec![None; len];
    at.iter().enumerate().for_each(|(k, &p)| last[p] = Some(k));
    for (p, writer) in last.into_iter().enumerate() {
        if let Some(k) = writer {
            dsrc[k] = weights[p];
            dx[p] = 0.0;
        }
    }
    close("dx", &values(&g.get(&x).expect("dx")), &dx, 0.0, 0.0);
    close("dsrc", &values(&g.get(&src).expect("dsrc")), &dsrc, 0.0, 0.0);
}
