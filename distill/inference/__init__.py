"""Raw texts to answers; for an exported model numpy, tokenizers and onnxruntime are enough."""
