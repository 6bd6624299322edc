//! Pictures of many small images, as PNG files.

use std::path::Path;
use wgrad::{Error, Tensor};

/// A picture of small images in rows and columns.
pub struct Grid {
    size: [usize; 2],
    columns: usize,
    /// Grey images in 0..1, row by row.
    images: Vec<Vec<f32>>,
    /// Rows that belong together; wider gaps keep them apart.
    group: usize,
}

impl Grid {
    /// Side of the square of the picture that shows one pixel of an image.
    const SCALE: usize = 3;
    const GAP: usize = 4;

    /// Rows of `columns` images of the given size (height, width); `group` rows belong together.
    pub fn new(size: [usize; 2], columns: usize, group: usize) -> Self {
        Self { size, columns, images: Vec::new(), group }
    }

    /// Adds the images of `[n, .., h, w]`.
    pub fn extend(&mut self, images: &Tensor) -> Result<(), Error> {
        let pixels: usize = self.size.iter().product();
        self.images.extend(images.to_vec::<f32>()?.chunks(pixels).map(<[f32]>::to_vec));
        Ok(())
    }

    /// Writes the picture as a PNG file.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let [height, width] = self.size.map(|n| n * Self::SCALE + Self::GAP);
        let rows = self.images.len().div_ceil(self.columns);
        // An extra gap after each group but the last.
        let top = |row: usize| Self::GAP + row * height + row / self.group * 3 * Self::GAP;
        let full = [top(rows.saturating_sub(1)) + height, Self::GAP + self.columns * width];
        let mut pixels = vec![96u8; full[0] * full[1]];
        for (i, image) in self.images.iter().enumerate() {
            let (y0, x0) = (top(i / self.columns), Self::GAP + i % self.columns * width);
            for y in 0..height - Self::GAP {
                for x in 0..width - Self::GAP {
                    let grey = image[y / Self::SCALE * self.size[1] + x / Self::SCALE];
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
                    let grey = (grey.clamp(0.0, 1.0) * 255.0).round() as u8;
                    pixels[(y0 + y) * full[1] + x0 + x] = grey;
                }
            }
        }
        let png = encode_png(full, &pixels).map_err(|error| Error::io(path, error.into()))?;
        wgrad::io::atomic::write(path, &png)
    }
}

/// A grey image of a size (height, width) in the PNG format.
fn encode_png([height, width]: [usize; 2], pixels: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side(width), side(height));
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(pixels)?;
    Ok(bytes)
}
