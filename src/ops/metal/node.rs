//! What a device has computed, as a node of candle's tape.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use candle_core::{MetalStorage, Storage, bail};

/// A result without a history, contiguous, and what makes the gradients of N arguments of its own.
pub(super) struct Node<F> {
    pub name: &'static str,
    pub result: Tensor,
    pub back: F,
}

/// A gradient for each argument that has one.
pub(super) type Gradients<const N: usize> = Result<[Option<Tensor>; N]>;

impl<F> Node<F> {
    fn on_cpu(&self) -> Result<(CpuStorage, Shape)> {
        match &*self.result.storage_and_layout().0 {
            Storage::Cpu(storage) => Ok((storage.clone(), self.result.shape().clone())),
            _ => bail!("{}: a result of another device", self.name),
        }
    }

    #[cfg(feature = "metal")]
    fn on_metal(&self) -> Result<(MetalStorage, Shape)> {
        match &*self.result.storage_and_layout().0 {
            // The same memory: nobody else has it.
            Storage::Metal(storage) => Ok((storage.clone(), self.result.shape().clone())),
            _ => bail!("{}: a result of another device", self.name),
        }
    }

    #[cfg(not(feature = "metal"))]
    fn on_metal(&self) -> Result<(MetalStorage, Shape)> {
        bail!("{}: built without Metal", self.name)
    }
}

impl<F: Fn(&Tensor) -> Gradients<1>> CustomOp1 for Node<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn metal_fwd(&self, _: &MetalStorage, _: &Layout) -> Result<(MetalStorage, Shape)> {
        self.on_metal()
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let [a] = (self.back)(&dy.contiguous()?)?;
        Ok(a)
    }
}

impl<F: Fn(&Tensor) -> Gradients<2>> CustomOp2 for Node<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        self.on_metal()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [a, b] = (self.back)(&dy.contiguous()?)?;
        Ok((a, b))
    }
}

impl<F: Fn(&Tensor) -> Gradients<3>> CustomOp3 for Node<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        self.on_metal()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [a, b, c] = (self.back)(&dy.contiguous()?)?;
        Ok((a, b, c))
    }
}
