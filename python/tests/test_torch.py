"""Modules and exported programs against what torch itself computes.

    CYGNET=target/release/cygnet PYTHONPATH=python python -m unittest discover -s python/tests

Skipped, and said so, where torch and what its exporter needs are not installed.
"""
import os
import sys
import tempfile
import unittest
import warnings
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))
warnings.filterwarnings("ignore")
try:
    import onnxscript  # noqa: F401
    import torch
    from torch import nn
except ImportError as missing:
    print(f"SKIPPED test_torch: {missing}; pip install 'python[torch]' installs what is needed", file=sys.stderr)
    raise unittest.SkipTest(str(missing)) from missing

from cygnet.command import CygnetError
from cygnet.torch import convert, main, sample


class Net(nn.Module):
    """Convolution, batch normalization, mean and product, as classifiers have them."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Linear(8, 5)

    def forward(self, x):
        return self.last(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


class Text(nn.Module):
    """Two inputs, of which one chooses rows; two outputs."""

    def __init__(self):
        super().__init__()
        self.rows, self.cell = nn.Embedding(50, 12), nn.GRU(12, 6, batch_first=True)

    def forward(self, tokens, scale):
        y, h = self.cell(self.rows(tokens) * scale)
        return y, h


def net():
    torch.manual_seed(1)
    made = Net()
    # Statistics that are not 0 and 1.
    made.train()
    for _ in range(3):
        made(torch.randn(4, 3, 16, 16))
    return made.eval()


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.file = self.folder / "out.cygnet"
        self.x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))


class Float(Folder):
    def test_a_module(self):
        made = convert(net(), [self.x], self.file)
        self.assertEqual(len(made.differences), 1)
        self.assertLess(max(made.differences.values()), 1e-5)
        self.assertTrue(self.file.stat().st_size > 0 and "memory:" in made.report)

    def test_inputs_of_several_types_and_outputs(self):
        torch.manual_seed(3)
        made = convert(Text().eval(), [torch.randint(0, 50, (1, 7)), torch.randn(1, 7, 1)], self.file)
        self.assertEqual(len(made.differences), 2)
        self.assertLess(max(made.differences.values()), 1e-4)

    def test_an_exported_program_brings_its_inputs(self):
        program = torch.export.export(net(), (self.x,))
        self.assertLess(max(convert(program, None, self.file).differences.values()), 1e-5)
        with self.assertRaisesRegex(CygnetError, "sample inputs are needed"):
            convert(net(), None, self.file)


class Quantized(Folder):
    def test_pt2e_keeps_its_scales(self):
        from torch.ao.quantization.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torch.ao.quantization.quantizer.xnnpack_quantizer import (
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )

        config = get_symmetric_quantization_config(is_per_channel=True)
        module = torch.export.export_for_training(net(), (self.x,)).module()
        module = prepare_pt2e(module, XNNPACKQuantizer().set_global(config))
        for _ in range(4):
            module(torch.randn(1, 3, 16, 16))
        made = convert(convert_pt2e(module), [self.x], self.file)
        # One step of the output's scale, of the 128 to its peak, where sums round otherwise.
        self.assertLess(max(made.differences.values()), 1 / 100)

    def test_quantization_aware_training_keeps_its_scales(self):
        import torch.ao.quantization as tq

        # Both are fused with their observers; the first one's activations have 128 values, its weights -128 often.
        for backend in ["fbgemm", "qnnpack"]:
            with self.subTest(backend):
                torch.manual_seed(4)
                layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 5)]
                module = nn.Sequential(tq.QuantStub(), *layers, tq.DeQuantStub()).train()
                module = tq.fuse_modules_qat(module, [["1", "2", "3"]])
                module.qconfig = tq.get_default_qat_qconfig(backend)
                module = tq.prepare_qat(module)
                for _ in range(4):
                    module(torch.randn(2, 3, 16, 16))
                made = convert(module, [self.x], self.file)
                self.assertIn("100.0 % s8", made.report)
                # One step of the output's scale, where sums round otherwise.
                self.assertLess(max(made.differences.values()), 1 / 50)

    def test_int8_by_samples(self):
        samples = [(torch.randn(1, 3, 16, 16),) for _ in range(4)]
        made = convert(net(), [self.x], self.file, precision="int8", calibrate=samples)
        self.assertLess(max(made.differences.values()), 0.1)
        self.assertIn("s8", made.report)


class Command(Folder):
    def test_a_factory_and_a_program(self):
        for source, inputs in [("test_torch:net", ["--input", "1x3x16x16"]), (str(self.folder / "n.pt2"), [])]:
            if source.endswith(".pt2"):
                torch.export.save(torch.export.export(net(), (self.x,)), source)
            self.file.unlink(missing_ok=True)
            self.assertEqual(main([source, "-o", str(self.file), *inputs]), 0)
            self.assertTrue(self.file.exists())

    def test_what_is_wrong_is_said(self):
        for source in ["nothing", "test_torch:Net"]:
            with mock.patch("sys.stderr") as err:
                # A factory without sample inputs; a source that is none.
                self.assertEqual(main([source, "-o", str(self.file)]), 1)
            said = "".join(c.args[0] for c in err.write.call_args_list)
            self.assertRegex(said, "error: .*(neither|sample inputs are needed)")
        with mock.patch.dict(os.environ, {"CYGNET": "/nowhere/cygnet"}):
            with self.assertRaisesRegex(CygnetError, "no command '/nowhere/cygnet'.*cargo build"):
                convert(net(), [self.x], self.file)
        with self.assertRaisesRegex(CygnetError, "--shape nowhere=1x2"):
            convert(net(), [self.x], self.file, options=["--shape", "nowhere=1x2"])

    def test_samples_are_the_same_every_time(self):
        self.assertTrue(torch.equal(sample("2x3"), sample("2x3")))
        self.assertEqual(sample("4:int64").dtype, torch.int64)


if __name__ == "__main__":
    unittest.main()
