//! Rates of single kernels on the software adapter: `cargo bench --features lab --bench kernels`.

fn main() {
    if let Err(error) = wgrad::lab::print() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
