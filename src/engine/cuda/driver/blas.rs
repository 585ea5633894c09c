//! Products through cuBLASLt; what was found out about a shape is kept.

use crate::engine::cuda::device::{Address, Gelu, Number, Operand, Product};
use crate::error::{Error, Result};
use cudarc::cublaslt::{result, sys};
use cudarc::driver::sys::CUstream;
use std::collections::HashMap;
use std::ffi::c_void;

/// What cuBLASLt may use beside the operands: what NVIDIA recommends for Hopper.
pub const WORKSPACE: usize = 32 << 20;

/// A product without its addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    sizes: [usize; 3],
    strides: [usize; 3],
    transposed: [bool; 2],
    numbers: [Number; 2],
    adds: bool,
    bias: bool,
    /// Whether there is one, and whether it is the way back.
    gelu: Option<bool>,
    /// Of a, b, c and d, in bytes.
    alignments: [u32; 4],
}

/// How a shape is multiplied.
struct Plan {
    form: Form,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

/// What cuBLASLt knows a product by.
struct Form {
    description: sys::cublasLtMatmulDesc_t,
    /// Of a, b and d.
    layouts: Vec<sys::cublasLtMatrixLayout_t>,
}

impl Drop for Form {
    fn drop(&mut self) {
        // SAFETY: made for this form alone.
        unsafe {
            for layout in self.layouts.drain(..) {
                let _ = result::destroy_matrix_layout(layout);
            }
            let _ = result::destroy_matmul_desc(self.description);
        }
    }
}

pub struct Blas {
    handle: sys::cublasLtHandle_t,
    stream: CUstream,
    workspace: Address,
    /// Whether f32 is rounded to TF32 on its way into products.
    tf32: bool,
    /// `None`: cuBLASLt does not take it.
    plans: HashMap<Shape, Option<Plan>>,
}

impl Blas {
    /// With [`WORKSPACE`] bytes of the device, which stay whose they are.
    pub fn new(stream: CUstream, workspace: Address, tf32: bool) -> Result<Blas> {
        Ok(Blas {
            handle: result::create_handle().map_err(|e| failed("begin", &e))?,
            stream,
            workspace,
            tf32,
            plans: HashMap::new(),
        })
    }

    /// Whether there is a way to multiply this.
    pub fn takes(&mut self, p: &Product) -> bool {
        let shape = shape(p);
        if !self.plans.contains_key(&shape) {
            let plan = self.plan(p, &shape).ok();
            self.plans.insert(shape, plan);
        }
        self.plans[&shape].is_some()
    }

    pub fn multiply(&mut self, p: &Product) -> Result<()> {
        if !self.takes(p) {
            // Again, for what it says of it.
            let plan = self.plan(p, &shape(p))?;
            self.plans.insert(shape(p), Some(plan));
        }
        let plan = self.plans[&shape(p)].as_ref().expect("planned");
        let (alpha, beta) = (1.0f32, if p.c.is_some() { 1.0f32 } else { 0.0 });
        let pointer = |at: Address| at.0 as *const c_void;
        let &[a, b, d] = &plan.form.layouts[..] else {
            unreachable!("three matrices");
        };
        // SAFETY: the engine's operands are as large as the product says, which the emulated device checks.
        unsafe {
            aim(plan.form.description, p)?;
            result::matmul(
                self.handle,
                plan.form.description,
                (&raw const alpha).cast(),
                (&raw const beta).cast(),
                pointer(p.a.at),
                a,
                pointer(p.b.at),
                b,
                pointer(p.c.unwrap_or(p.d)),
                d,
                p.d.0 as *mut c_void,
                d,
                &plan.algorithm,
                self.workspace.0 as *mut c_void,
                WORKSPACE,
                self.stream.cast(),
            )
        }
        .map_err(|e| failed("multiply", &e))
    }

    fn plan(&self, p: &Product, shape: &Shape) -> Result<Plan> {
        use sys::cublasLtMatmulDescAttributes_t as Attribute;
        use sys::cublasLtMatmulPreferenceAttributes_t as Preference;
        let compute = match self.tf32 && p.number == Number::F32 {
            true => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            false => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
        };
        let description = result::create_matmul_desc(compute, sys::cudaDataType_t::CUDA_R_32F)
            .map_err(|e| failed("describe a product", &e))?;
        let mut form = Form {
            description,
            layouts: Vec::new(),
        };
        // CUBLAS_OP_N and CUBLAS_OP_T.
        let operation = |of: Operand| i32::from(of.transposed);
        let layout = |number: Number, rows: usize, columns: usize, stride: usize| {
            result::create_matrix_layout(kind(number), rows as u64, columns as u64, stride as i64)
                .map_err(|e| failed("describe a matrix", &e))
        };
        let operand = |of: Operand, rows: usize, columns: usize| match of.transposed {
            true => layout(p.number, columns, rows, of.stride),
            false => layout(p.number, rows, columns, of.stride),
        };
        let a = operand(p.a, p.m, p.k)?;
        form.layouts.push(a);
        let b = operand(p.b, p.k, p.n)?;
        form.layouts.push(b);
        let d = layout(p.d_number, p.m, p.n, p.d_stride)?;
        form.layouts.push(d);
        // SAFETY: all of these were made above; the preference is destroyed once.
        unsafe {
            describe(
                description,
                Attribute::CUBLASLT_MATMUL_DESC_TRANSA,
                &operation(p.a),
            )?;
            describe(
                description,
                Attribute::CUBLASLT_MATMUL_DESC_TRANSB,
                &operation(p.b),
            )?;
            let epilogue = epilogue(p);
            describe(
                description,
                Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE,
                &epilogue,
            )?;
            if p.bias.is_some() {
                describe(
                    description,
                    Attribute::CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE,
                    &kind(p.d_number),
                )?;
            }
            if p.gelu.is_some() {
                describe(
                    description,
                    Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD,
                    &(p.d_stride as i64),
                )?;
            }
            // What is found may depend on how they are aligned.
            aim(description, p)?;
            let wanted = result::create_matmul_pref().map_err(|e| failed("prefer", &e))?;
            let prefer = |attribute, value: *const c_void, bytes| {
                result::set_matmul_pref_attribute(wanted, attribute, value, bytes)
                    .map_err(|e| failed("prefer", &e))
            };
            let room = WORKSPACE;
            let most = Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
            prefer(most, (&raw const room).cast(), size_of::<usize>())?;
            for (attribute, alignment) in [
                Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
            ]
            .into_iter()
            .zip(&shape.alignments)
            {
                prefer(attribute, (&raw const *alignment).cast(), 4)?;
            }
            let found =
                result::get_matmul_algo_heuristic(self.handle, description, a, b, d, d, wanted);
            let _ = result::destroy_matmul_pref(wanted);
            let found =
                found.map_err(|e| failed(&format!("multiply {} × {} × {}", p.m, p.n, p.k), &e))?;
            Ok(Plan {
                form,
                algorithm: found.algo,
            })
        }
    }

    /// Gives back what it made.
    ///
    /// # Safety
    /// Nothing is under way, and nothing is multiplied any more.
    pub unsafe fn close(&mut self) {
        self.plans.clear();
        // SAFETY: the caller's word. Nobody would hear of a failure.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

fn shape(p: &Product) -> Shape {
    let alignment = |at: Address| 1u32 << at.0.trailing_zeros().min(8);
    Shape {
        sizes: [p.m, p.n, p.k],
        strides: [p.a.stride, p.b.stride, p.d_stride],
        transposed: [p.a.transposed, p.b.transposed],
        numbers: [p.number, p.d_number],
        adds: p.c.is_some(),
        bias: p.bias.is_some(),
        gelu: p.gelu.map(|gelu| matches!(gelu, Gelu::Backward(_))),
        alignments: [p.a.at, p.b.at, p.c.unwrap_or(p.d), p.d].map(alignment),
    }
}

fn epilogue(p: &Product) -> sys::cublasLtEpilogue_t {
    use sys::cublasLtEpilogue_t as Epilogue;
    match (p.gelu, p.bias.is_some()) {
        (None, false) => Epilogue::CUBLASLT_EPILOGUE_DEFAULT,
        (None, true) => Epilogue::CUBLASLT_EPILOGUE_BIAS,
        (Some(Gelu::Forward(_)), false) => Epilogue::CUBLASLT_EPILOGUE_GELU_AUX,
        (Some(Gelu::Forward(_)), true) => Epilogue::CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
        (Some(Gelu::Backward(_)), bias) => {
            assert!(!bias, "a gradient has no bias");
            Epilogue::CUBLASLT_EPILOGUE_DGELU
        }
    }
}

/// Gives a description the addresses that are no operands.
///
/// # Safety
/// The description is that of this product.
unsafe fn aim(description: sys::cublasLtMatmulDesc_t, p: &Product) -> Result<()> {
    use sys::cublasLtMatmulDescAttributes_t as Attribute;
    // SAFETY: the caller's word.
    unsafe {
        if let Some(bias) = p.bias {
            let attribute = Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER;
            describe(description, attribute, &bias.0)?;
        }
        if let Some(Gelu::Forward(at) | Gelu::Backward(at)) = p.gelu {
            let attribute = Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER;
            describe(description, attribute, &at.0)?;
        }
    }
    Ok(())
}

fn kind(number: Number) -> sys::cudaDataType_t {
    match number {
        Number::F32 => sys::cudaDataType_t::CUDA_R_32F,
        Number::Bf16 => sys::cudaDataType_t::CUDA_R_16BF,
    }
}

/// # Safety
/// The description is there, and the attribute is of this type.
unsafe fn describe<T>(
    description: sys::cublasLtMatmulDesc_t,
    attribute: sys::cublasLtMatmulDescAttributes_t,
    value: &T,
) -> Result<()> {
    let value: *const T = value;
    // SAFETY: the caller's word.
    unsafe {
        result::set_matmul_desc_attribute(description, attribute, value.cast(), size_of::<T>())
    }
    .map_err(|e| failed("describe a product", &e))
}

fn failed(doing: &str, e: &result::CublasError) -> Error {
    Error::backend(format!("cuBLASLt could not {doing}: {:?}", e.0))
}
