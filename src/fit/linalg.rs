//! Dense linear algebra for a dozen unknowns: symmetric matrices, row-major in slices.

/// A symmetric positive definite matrix as `L·Lᵀ`.
#[derive(Clone, Debug)]
pub(crate) struct Cholesky {
    n: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    /// Factors the `n × n` matrix; `None` unless it is positive definite.
    pub(crate) fn new(matrix: &[f64], n: usize) -> Option<Cholesky> {
        let mut lower = matrix[..n * n].to_vec();
        for j in 0..n {
            let mut pivot = lower[j * n + j];
            for k in 0..j {
                pivot -= lower[j * n + k] * lower[j * n + k];
            }
            // Below rounding of the diagonal, what is left is noise.
            if !(pivot > matrix[j * n + j].abs() * 1e-15 && pivot.is_finite()) {
                return None;
            }
            let pivot = pivot.sqrt();
            lower[j * n + j] = pivot;
            for i in j + 1..n {
                let mut sum = lower[i * n + j];
                for k in 0..j {
                    sum -= lower[i * n + k] * lower[j * n + k];
                }
                lower[i * n + j] = sum / pivot;
            }
            for i in 0..j {
                lower[i * n + j] = 0.0;
            }
        }
        Some(Cholesky { n, lower })
    }

    /// Row `i` of the factor times `b`.
    pub(crate) fn row_times(&self, i: usize, b: &[f64]) -> f64 {
        let row = &self.lower[i * self.n..][..=i];
        row.iter().zip(b).map(|(l, b)| l * b).sum()
    }

    /// The inverse's product with `b`, in place.
    pub(crate) fn solve(&self, b: &mut [f64]) {
        let n = self.n;
        for i in 0..n {
            for k in 0..i {
                b[i] -= self.lower[i * n + k] * b[k];
            }
            b[i] /= self.lower[i * n + i];
        }
        for i in (0..n).rev() {
            for k in i + 1..n {
                b[i] -= self.lower[k * n + i] * b[k];
            }
            b[i] /= self.lower[i * n + i];
        }
    }

    /// The inverse matrix.
    pub(crate) fn inverse(&self) -> Vec<f64> {
        let n = self.n;
        let mut inverse = vec![0.0; n * n];
        let mut column = vec![0.0; n];
        for j in 0..n {
            column.fill(0.0);
            column[j] = 1.0;
            self.solve(&mut column);
            for i in 0..n {
                inverse[i * n + j] = column[i];
            }
        }
        inverse
    }

    pub(crate) fn ln_determinant(&self) -> f64 {
        (0..self.n)
            .map(|i| 2.0 * self.lower[i * self.n + i].ln())
            .sum()
    }
}

/// Eigenvalues (ascending) and, as rows, eigenvectors of a symmetric matrix, by cyclic Jacobi
/// rotations.
pub(crate) fn eigen(matrix: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut a = matrix[..n * n].to_vec();
    let mut v = vec![0.0; n * n];
    for i in 0..n {
        v[i * n + i] = 1.0;
    }
    for _ in 0..60 {
        let off: f64 = (0..n)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| a[i * n + j] * a[i * n + j])
            .sum();
        let all: f64 = a.iter().map(|x| x * x).sum();
        if off <= 1e-30 * all {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                let apq = a[p * n + q];
                if apq == 0.0 {
                    continue;
                }
                let theta = 0.5 * (a[q * n + q] - a[p * n + p]) / apq;
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let t = if theta == 0.0 { 1.0 } else { t };
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for k in 0..n {
                    let (akp, akq) = (a[k * n + p], a[k * n + q]);
                    a[k * n + p] = c * akp - s * akq;
                    a[k * n + q] = s * akp + c * akq;
                }
                for k in 0..n {
                    let (apk, aqk) = (a[p * n + k], a[q * n + k]);
                    a[p * n + k] = c * apk - s * aqk;
                    a[q * n + k] = s * apk + c * aqk;
                    let (vpk, vqk) = (v[p * n + k], v[q * n + k]);
                    v[p * n + k] = c * vpk - s * vqk;
                    v[q * n + k] = s * vpk + c * vqk;
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[i * n + i].total_cmp(&a[j * n + j]));
    let values = order.iter().map(|&i| a[i * n + i]).collect();
    let vectors = order
        .iter()
        .flat_map(|&i| v[i * n..(i + 1) * n].iter().copied())
        .collect();
    (values, vectors)
}

/// `a · b` of `n × n` matrices.
pub(crate) fn product(a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    let mut out = vec![0.0; n * n];
    for i in 0..n {
        for k in 0..n {
            for j in 0..n {
                out[i * n + j] += a[i * n + k] * b[k * n + j];
            }
        }
    }
    out
}

/// `gᵀ · m · g`.
pub(crate) fn quadratic(m: &[f64], g: &[f64]) -> f64 {
    let n = g.len();
    (0..n)
        .map(|i| g[i] * (0..n).map(|j| m[i * n + j] * g[j]).sum::<f64>())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: [f64; 9] = [4.0, 1.0, -0.5, 1.0, 3.0, 0.2, -0.5, 0.2, 2.0];

    #[test]
    fn cholesky_solves_and_inverts() {
        let factor = Cholesky::new(&M, 3).unwrap();
        let identity = product(&M, &factor.inverse(), 3);
        for (i, x) in identity.iter().enumerate() {
            let want = if i % 4 == 0 { 1.0 } else { 0.0 };
            assert!((x - want).abs() < 1e-14, "{i}: {x}");
        }
        let determinant: f64 = 4.0 * (6.0 - 0.04) - (2.0 + 0.1) - 0.5 * (0.2 + 1.5);
        assert!((factor.ln_determinant() - determinant.ln()).abs() < 1e-13);
        assert!(Cholesky::new(&[1.0, 1.0, 1.0, 1.0], 2).is_none());
        assert!(Cholesky::new(&[f64::NAN], 1).is_none());
    }

    #[test]
    fn eigenvectors_rebuild_the_matrix() {
        let (values, vectors) = eigen(&M, 3);
        assert!(values.is_sorted());
        for i in 0..3 {
            for j in 0..3 {
                let rebuilt: f64 = (0..3)
                    .map(|k| values[k] * vectors[k * 3 + i] * vectors[k * 3 + j])
                    .sum();
                assert!((rebuilt - M[i * 3 + j]).abs() < 1e-13);
            }
        }
    }
}
