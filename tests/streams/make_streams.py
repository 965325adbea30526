#!/usr/bin/env python3
"""Writes tests/data/stream_{kws,vad,gru}.npz (and stream_gru.onnx): what LiteRT and ONNX Runtime answer to minutes of audio.

    tests/streams/make_streams.py [kws] [vad] [gru]

`kws` needs `pip install ai-edge-litert==2.3.0 numpy`, the others `pip install onnxruntime==1.32.0 onnx==1.23.2 numpy`;
`vad` needs vad_silero_16k.onnx in the folder that CYGNET_MODELS names. Without a name all are made.

Inputs are not kept: tests/tests/live.rs makes the same ones from the same generator. Of the outputs every EVERYth is.

- kws: the features in tests/data/kws_stream.npz over and over, 90 ms a chunk, with noise.
- vad: syllables of a synthetic voice (harmonics of a gliding pitch under two formants) with pauses and noise, 32 ms a
  chunk, behind the last 4 ms of the chunk before.
- gru: two GRU layers of random weights over the features of `kws`, one frame of 30 ms a chunk.
"""
import math
import os
import sys
from pathlib import Path

import numpy as np

DATA = Path(__file__).resolve().parent.parent / "data"
EVERY = 50
CHUNKS = {"kws": 2000, "vad": 5625, "gru": 6000}


class Noise:
    """Knuth's linear congruential generator, as the test has it."""

    def __init__(self):
        self.state = 1

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & (2**64 - 1)
        return (self.state >> 33) % n


def features():
    """Chunks of int8 features, as those of the npz over and over with noise of up to 4 steps."""
    held = np.load(DATA / "kws_stream.npz")
    chunks = held[[n for n in held.files if n.startswith("in:")][0]].astype(np.int32)
    noise = Noise()
    while True:
        for chunk in chunks:
            flat = [max(-128, min(127, int(v) + noise.below(9) - 4)) for v in chunk.ravel()]
            yield np.array(flat, np.int8).reshape(1, *chunk.shape)


def voice():
    """Chunks of 512 samples, made at 13 kHz for 16: 0.22 s of voice in every 0.3 s, none in every third second."""
    noise, n, phase = Noise(), 0, 0.0
    while True:
        chunk = np.zeros((1, 512), np.float32)
        for i in range(512):
            t = n / 13000
            within = math.fmod(t, 0.3)
            speaks = within < 0.22 and int(t) % 3 != 2
            pitch = 200 + 60 * math.sin(2 * math.pi * 0.7 * t)
            phase = math.fmod(phase + pitch / 13000, 1.0)
            value = 0.0
            if speaks:
                envelope = math.sin(math.pi * within / 0.22)
                first, second = 500 + 200 * math.sin(2 * math.pi * 0.9 * t), 1500 + 500 * math.sin(2 * math.pi * 0.4 * t)
                for k in range(1, 25):
                    f = k * pitch
                    weight = 1 / (1 + ((f - first) / 80) ** 2) + 0.5 / (1 + ((f - second) / 120) ** 2)
                    value += weight * math.sin(2 * math.pi * k * phase)
                value *= 3000 * envelope
            sample = math.floor(value + 0.5) + noise.below(21) - 10
            chunk[0, i] = max(-32768, min(32767, sample)) / 32768
            n += 1
        yield chunk


def kws():
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    path = DATA.parent.parent / "assets" / "kws_micro_alexa_int8.tflite"
    it = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    it.allocate_tensors()
    given, made = it.get_input_details()[0]["index"], it.get_output_details()[0]["index"]
    outs = []
    for _, chunk in zip(range(CHUNKS["kws"]), features()):
        it.set_tensor(given, chunk)
        it.invoke()
        outs.append(int(it.get_tensor(made)[0, 0]))
    heard = [i for i in range(1, len(outs)) if outs[i] > 128 >= outs[i - 1]]
    print(f"kws: {len(outs)} chunks, passes 128 at {len(heard)}")
    np.savez_compressed(DATA / "stream_kws.npz", probability=np.array(outs[::EVERY], np.uint8), heard=np.array(heard, np.int32))


def session(path):
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def vad():
    s = session(Path(os.environ["CYGNET_MODELS"]) / "vad_silero_16k.onnx")
    state, outs, context = np.zeros((2, 1, 128), np.float32), [], np.zeros((1, 64), np.float32)
    for _, chunk in zip(range(CHUNKS["vad"]), voice()):
        given = np.concatenate([context, chunk], 1)
        context = chunk[:, -64:]
        feed = {"input": given, "state": state, "sr": np.array(16000, np.int64)}
        out, state = s.run(["output", "stateN"], {i.name: feed[i.name] for i in s.get_inputs()})
        outs.append(float(out[0, 0]))
    outs = np.array(outs, np.float32)
    print(f"vad: {len(outs)} chunks, from {outs.min():.3f} to {outs.max():.3f}, speech in {np.mean(outs > .5):.2f}")
    np.savez_compressed(DATA / "stream_vad.npz", probability=outs[::EVERY], state=state)


def gru():
    import onnx
    from onnx import helper, numpy_helper

    rng, units = np.random.default_rng(3), 24
    inits, nodes, ports, x = [], [], [], "x"
    for layer, depth in [(0, 40), (1, units)]:
        for name, shape in [("W", (1, 3 * units, depth)), ("R", (1, 3 * units, units)), ("B", (1, 6 * units))]:
            value = (rng.normal(size=shape) / math.sqrt(shape[-1] if name != "B" else 9)).astype(np.float32)
            inits.append(numpy_helper.from_array(value, f"{name}{layer}"))
        nodes.append(helper.make_node("GRU", [x, f"W{layer}", f"R{layer}", f"B{layer}", "", f"h{layer}"],
                                      [f"all{layer}", f"n{layer}"], hidden_size=units, linear_before_reset=1))
        nodes.append(helper.make_node("Squeeze", [f"all{layer}", "one"], [f"y{layer}"]))
        ports += [(f"h{layer}", f"n{layer}")]
        x = f"y{layer}"
    inits.append(numpy_helper.from_array(np.array([1], np.int64), "one"))
    value = lambda name, shape: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
    graph = helper.make_graph(
        nodes, "gru", [value("x", [1, 1, 40])] + [value(a, [1, 1, units]) for a, _ in ports],
        [value("y1", [1, 1, units])] + [value(b, [1, 1, units]) for _, b in ports], inits)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, DATA / "stream_gru.onnx")
    s = session(DATA / "stream_gru.onnx")
    state, outs = [np.zeros((1, 1, units), np.float32)] * 2, []
    frames = (frame for chunk in features() for frame in chunk.reshape(-1, 1, 1, 40))
    for _, frame in zip(range(CHUNKS["gru"]), frames):
        y, *state = s.run(None, {"x": frame.astype(np.float32) / 64, "h0": state[0], "h1": state[1]})
        outs.append(y.ravel())
    outs = np.array(outs, np.float32)
    print(f"gru: {len(outs)} chunks, from {outs.min():.3f} to {outs.max():.3f}")
    np.savez_compressed(DATA / "stream_gru.npz", y=outs[::EVERY])


if __name__ == "__main__":
    for name in sys.argv[1:] or ["kws", "vad", "gru"]:
        {"kws": kws, "vad": vad, "gru": gru}[name]()
