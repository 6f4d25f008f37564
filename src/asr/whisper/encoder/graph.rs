//! Whisper's encoder as a graph for ONNX Runtime (Radford et al. 2022, section 2.2; openai/whisper
//! `model.py`, class `AudioEncoder`).
//!
//! Matrix products run in `f32`, or in 8 bits: weights with one scale per output channel, activations with
//! one scale per position, found as they come, as CTranslate2 does it. Normalization, attention and sums
//! stay in `f32` in both.

use std::ffi::CStr;

use ort::editor::{Graph, Node, ONNX_DOMAIN};
use ort::memory::Allocator;
use ort::operator::Attribute;
use ort::value::{Outlet, PrimitiveTensorElementType, Shape, SymbolicDimensions, Tensor, ValueType};

use super::weights::{self, TensorFile};
use super::{Dimensions, Precision};

/// ONNX Runtime's own operators.
pub const MICROSOFT_DOMAIN: &str = "com.microsoft";

/// Largest magnitude of an 8-bit weight or activation.
const INT8_MAX: f32 = 127.0;

/// What stands for zero in unsigned 8-bit activations.
const ACTIVATION_ZERO: u8 = 128;

/// Least scale of an activation row: rows of zeros must not divide by zero.
const LEAST_MAGNITUDE: f32 = 1e-8;

/// Whisper's epsilon in layer normalization.
const NORM_EPSILON: f32 = 1e-5;

/// Name of the input: (1, bands, frames) spectrogram.
pub const MEL: &CStr = c"mel";

/// Name of the input: (positions, width) embedding of the positions heard.
pub const POSITIONS: &CStr = c"positions";

/// Name of the output: (1, positions, width).
pub const ENCODED: &CStr = c"encoded";

/// Names of the constants that every quantization shares.
const ONE: &str = "one";
const ZERO: &str = "zero";
const LEAST: &str = "least";
const STEP: &str = "step";
const LAST_AXIS: &str = "last_axis";

/// Name of a value in the graph.
type Name = String;

type Result<T> = std::result::Result<T, String>;

/// Builds the encoder whose weights lie in `file`.
pub fn build(file: &mut TensorFile, dimensions: Dimensions, precision: Precision) -> Result<Graph> {
    let mut builder = Builder { graph: Graph::new().map_err(text)?, file, precision, count: 0 };
    builder.ports(dimensions)?;
    if precision == Precision::Int8 {
        builder.quantization_constants()?;
    }
    let mut x = builder.stem()?;
    for layer in 0..dimensions.layers {
        x = builder.block(&format!("encoder.blocks.{layer}"), x, dimensions)?;
    }
    let x = builder.norm("encoder.ln_post", &x)?;
    builder.named(("Identity", ONNX_DOMAIN), &[&x], port_name(ENCODED), Vec::new())?;
    Ok(builder.graph)
}

/// The name of an input or output as `ort` takes it.
fn port_name(name: &'static CStr) -> &'static str {
    name.to_str().expect("the names above are ASCII")
}

fn text(error: ort::Error) -> String {
    error.to_string()
}

struct Builder<'a> {
    graph: Graph,
    file: &'a mut TensorFile,
    precision: Precision,
    /// Values named so far.
    count: usize,
}

/// Activations ready for products: plain, or in 8 bits with the scale of each row.
enum Operand {
    Plain(Name),
    Quantized { values: Name, scales: Name },
}

impl Builder<'_> {
    fn ports(&mut self, dimensions: Dimensions) -> Result<()> {
        let port = |name: &'static CStr, shape: Vec<i64>| {
            let dimension_symbols = SymbolicDimensions::empty(shape.len());
            let ty = ort::value::TensorElementType::Float32;
            Outlet::new(
                port_name(name),
                ValueType::Tensor { ty, shape: Shape::new(shape), dimension_symbols },
            )
        };
        let (mels, width) = (dimensions.mels as i64, dimensions.width as i64);
        let inputs = [port(MEL, vec![1, mels, -1]), port(POSITIONS, vec![-1, width])];
        self.graph.set_inputs(inputs).map_err(text)?;
        self.graph.set_outputs([port(ENCODED, vec![1, -1, width])]).map_err(text)
    }

    /// Two convolutions over time, the second halving it, and the positions. (1, positions, width)
    fn stem(&mut self) -> Result<Name> {
        let mut x = port_name(MEL).to_owned();
        for (layer, stride) in [("encoder.conv1", 1_i64), ("encoder.conv2", 2)] {
            let weight = self.weight(&format!("{layer}.weight"))?;
            let bias = self.tensor(&format!("{layer}.bias"))?.values;
            let bias = self.constant(&[bias.len()], bias)?;
            let attributes = vec![
                attribute("kernel_shape", vec![3_i64])?,
                attribute("pads", vec![1_i64, 1])?,
                attribute("strides", vec![stride])?,
            ];
            x = self.node("Conv", ONNX_DOMAIN, &[&x, &weight, &bias], attributes)?;
            x = self.node("Gelu", MICROSOFT_DOMAIN, &[&x], Vec::new())?;
        }
        let x = self.node("Transpose", ONNX_DOMAIN, &[&x], vec![attribute("perm", vec![0_i64, 2, 1])?])?;
        self.node("Add", ONNX_DOMAIN, &[&x, port_name(POSITIONS)], Vec::new())
    }

    /// One residual layer: attention, then two linear layers.
    fn block(&mut self, layer: &str, x: Name, dimensions: Dimensions) -> Result<Name> {
        let normed = self.norm(&format!("{layer}.attn_ln"), &x)?;
        let operand = self.operand(normed)?;
        let mut inputs = Vec::new();
        for part in ["query", "key", "value"] {
            inputs.push(self.product(&format!("{layer}.attn.{part}.weight"), &operand)?);
        }
        inputs.push(self.attention_bias(layer, dimensions.width)?);
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let heads = vec![attribute("num_heads", dimensions.heads as i64)?];
        let heard = self.node("MultiHeadAttention", MICROSOFT_DOMAIN, &inputs, heads)?;
        let x = self.residual(&format!("{layer}.attn.out"), heard, x)?;

        let normed = self.norm(&format!("{layer}.mlp_ln"), &x)?;
        let operand = self.operand(normed)?;
        let hidden = self.product(&format!("{layer}.mlp.0.weight"), &operand)?;
        let bias = self.weight(&format!("{layer}.mlp.0.bias"))?;
        let hidden = self.node("BiasGelu", MICROSOFT_DOMAIN, &[&hidden, &bias], Vec::new())?;
        self.residual(&format!("{layer}.mlp.2"), hidden, x)
    }

    /// `x` + linear(`y`).
    fn residual(&mut self, linear: &str, y: Name, x: Name) -> Result<Name> {
        let operand = self.operand(y)?;
        let y = self.product(&format!("{linear}.weight"), &operand)?;
        let bias = self.weight(&format!("{linear}.bias"))?;
        let y = self.node("Add", ONNX_DOMAIN, &[&y, &bias], Vec::new())?;
        self.node("Add", ONNX_DOMAIN, &[&x, &y], Vec::new())
    }

    /// Biases of query, key (Whisper has none there) and value in a row.
    fn attention_bias(&mut self, layer: &str, width: usize) -> Result<Name> {
        let mut bias = self.tensor(&format!("{layer}.attn.query.bias"))?.values;
        bias.resize(2 * width, 0.0);
        bias.extend(self.tensor(&format!("{layer}.attn.value.bias"))?.values);
        self.constant(&[3 * width], bias)
    }

    fn norm(&mut self, name: &str, x: &str) -> Result<Name> {
        let scale = self.weight(&format!("{name}.weight"))?;
        let bias = self.weight(&format!("{name}.bias"))?;
        let attributes = vec![attribute("axis", -1_i64)?, attribute("epsilon", NORM_EPSILON)?];
        self.node("LayerNormalization", ONNX_DOMAIN, &[x, &scale, &bias], attributes)
    }

    fn quantization_constants(&mut self) -> Result<()> {
        self.initializer(LAST_AXIS, &[1], &[-1_i64])?;
        self.initializer(LEAST, &[], &[LEAST_MAGNITUDE])?;
        self.initializer(STEP, &[], &[1.0 / INT8_MAX])?;
        self.initializer(ONE, &[], &[1.0_f32])?;
        self.initializer(ZERO, &[], &[ACTIVATION_ZERO])
    }

    /// Prepares `x` for products.
    fn operand(&mut self, x: Name) -> Result<Operand> {
        if self.precision == Precision::F32 {
            return Ok(Operand::Plain(x));
        }
        let magnitudes = self.node("Abs", ONNX_DOMAIN, &[&x], Vec::new())?;
        let keep = vec![attribute("keepdims", 1_i64)?];
        let largest = self.node("ReduceMax", ONNX_DOMAIN, &[&magnitudes, LAST_AXIS], keep)?;
        let largest = self.node("Max", ONNX_DOMAIN, &[&largest, LEAST], Vec::new())?;
        let scales = self.node("Mul", ONNX_DOMAIN, &[&largest, STEP], Vec::new())?;
        let scaled = self.node("Div", ONNX_DOMAIN, &[&x, &scales], Vec::new())?;
        let values = self.node("QuantizeLinear", ONNX_DOMAIN, &[&scaled, ONE, ZERO], Vec::new())?;
        Ok(Operand::Quantized { values, scales })
    }

    /// `operand` times the transposed weight `name`, which the file holds as (outputs, inputs).
    fn product(&mut self, name: &str, operand: &Operand) -> Result<Name> {
        let weight = self.tensor(name)?;
        let &[outputs, inputs] = weight.shape.as_slice() else {
            return Err(format!("the tensor {name} is no matrix"));
        };
        match operand {
            Operand::Plain(x) => {
                let weight = transposed(&weight, |value, _| value);
                let weight = self.constant(&[inputs, outputs], weight)?;
                self.node("MatMul", ONNX_DOMAIN, &[x, &weight], Vec::new())
            }
            Operand::Quantized { values, scales } => {
                let weight_scales = channel_scales(&weight);
                let quantized = transposed(&weight, |value, output| {
                    (value / weight_scales[output]).round().clamp(-INT8_MAX, INT8_MAX) as i8
                });
                let quantized = self.constant(&[inputs, outputs], quantized)?;
                let weight_scales = self.constant(&[outputs], weight_scales)?;
                let weight_zeros = self.constant(&[outputs], vec![0_i8; outputs])?;
                let inputs = [values, quantized.as_str(), ONE, &weight_scales, ZERO, &weight_zeros];
                let product = self.node("MatMulIntegerToFloat", MICROSOFT_DOMAIN, &inputs, Vec::new())?;
                self.node("Mul", ONNX_DOMAIN, &[&product, scales], Vec::new())
            }
        }
    }

    fn tensor(&mut self, name: &str) -> Result<weights::Tensor> {
        self.file.read(name).map_err(|error| error.to_string())
    }

    /// The tensor `name` of the file as a constant of the same shape.
    fn weight(&mut self, name: &str) -> Result<Name> {
        let weights::Tensor { shape, values } = self.tensor(name)?;
        self.constant(&shape, values)
    }

    fn constant<T: PrimitiveTensorElementType + std::fmt::Debug + Copy>(
        &mut self,
        shape: &[usize],
        values: Vec<T>,
    ) -> Result<Name> {
        let name = self.fresh();
        self.initializer(&name, shape, &values)?;
        Ok(name)
    }

    fn initializer<T: PrimitiveTensorElementType + std::fmt::Debug + Copy>(
        &mut self,
        name: &str,
        shape: &[usize],
        values: &[T],
    ) -> Result<()> {
        let shape = shape.iter().map(|size| *size as i64).collect::<Vec<_>>();
        let mut tensor = Tensor::<T>::new(&Allocator::default(), Shape::new(shape)).map_err(text)?;
        let (_, room) = tensor.extract_tensor_mut();
        if room.len() != values.len() {
            return Err("a tensor has another size than its dimensions say".into());
        }
        room.copy_from_slice(values);
        self.graph.add_initializer(name, tensor, false).map_err(text)
    }

    fn node(
        &mut self,
        operator: &str,
        domain: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> Result<Name> {
        let output = self.fresh();
        self.named((operator, domain), inputs, &output, attributes)?;
        Ok(output)
    }

    fn named(
        &mut self,
        (operator, domain): (&str, &str),
        inputs: &[&str],
        output: &str,
        attributes: Vec<Attribute>,
    ) -> Result<()> {
        let name = format!("{operator}.{output}");
        let node = Node::new(operator, domain, name, inputs, [output], attributes).map_err(text)?;
        self.graph.add_node(node).map_err(text)
    }

    fn fresh(&mut self) -> Name {
        self.count += 1;
        format!("v{}", self.count)
    }
}

fn attribute(name: &str, value: impl ort::operator::ToAttribute) -> Result<Attribute> {
    Attribute::new(name, value).map_err(text)
}

/// Scale of each output channel: its largest magnitude over 127, and 1 where all is zero.
fn channel_scales(weight: &weights::Tensor) -> Vec<f32> {
    let largest = |row: &[f32]| row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scale = |largest: f32| if largest > 0.0 { largest / INT8_MAX } else { 1.0 };
    weight.values.chunks_exact(weight.shape[1]).map(|row| scale(largest(row))).collect()
}

/// (outputs, inputs) to (inputs, outputs), each value through `convert` with its output channel.
fn transposed<T: Copy + Default>(weight: &weights::Tensor, convert: impl Fn(f32, usize) -> T) -> Vec<T> {
    let (outputs, inputs) = (weight.shape[0], weight.shape[1]);
    let mut turned = vec![T::default(); weight.values.len()];
    // Reads in the order of memory: the weights of one row lie together.
    for (output, row) in weight.values.chunks_exact(inputs).enumerate() {
        for (input, value) in row.iter().enumerate() {
            turned[input * outputs + output] = convert(*value, output);
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> weights::Tensor {
        weights::Tensor { shape: vec![2, 3], values: vec![1.0, -2.0, 0.5, 0.0, 0.0, 0.0] }
    }

    #[test]
    fn matrices_are_turned_for_products_from_the_left() {
        assert_eq!(transposed(&matrix(), |value, _| value), [1.0, 0.0, -2.0, 0.0, 0.5, 0.0]);
        assert_eq!(transposed(&matrix(), |_, output| output), [0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn each_output_channel_has_its_own_scale() {
        assert_eq!(channel_scales(&matrix()), [2.0 / 127.0, 1.0]);
    }
}
