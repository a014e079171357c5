import copyreg
import io
import os
import pickle
import pickletools
import sys
import types
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from ganaug.checkpoints import read_nvidia_pickle
from ganaug.errors import GeneratorError


class EasyDict(dict):
    __module__ = "dnnlib.util"


def _reconstruct_persistent_obj(meta):
    raise AssertionError("the file's own code was run")


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"


@pytest.fixture(autouse=True)
def nvidia(monkeypatch):
    """The two modules that NVIDIA's pickles name, so that files like them can be written."""
    for name, value in (("dnnlib.util", EasyDict), ("torch_utils.persistence", _reconstruct_persistent_obj)):
        module = types.ModuleType(name)
        setattr(module, value.__name__, value)
        monkeypatch.setitem(sys.modules, name.partition(".")[0], types.ModuleType(name.partition(".")[0]))
        monkeypatch.setitem(sys.modules, name, module)


class Persistent(nn.Module):
    """Pickled as NVIDIA's classes are: the source code of the class beside its state."""

    def __init__(self, *children, **init_kwargs):
        super().__init__()
        self._init_args, self._init_kwargs = (), init_kwargs
        self.weight = nn.Parameter(torch.randn(3, 2))
        self.register_buffer("scale", torch.randn(4)[1:])
        self.register_buffer("none", None)
        self.gain, self.size = np.sqrt(2.0) * np.float64(1), np.broadcast_to(np.asarray(7), [2])
        self.fc = children[0] if children else None

    def __reduce__(self):
        meta = {"type": "class", "version": 6, "module_src": "raise SystemExit", "class_name": "Generator"}
        return _reconstruct_persistent_obj, ({**meta, "state": vars(self)},)


class Call:
    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def write(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_the_averaged_generator_is_read_with_its_source_unread(tmp_path, protocol):
    inner = Persistent()
    network = Persistent(inner, z_dim=512, synthesis_kwargs=EasyDict(conv_clamp=256), sizes=np.arange(4).reshape(2, 2))
    content = {"training_set_kwargs": EasyDict(path="x"), "G": inner, "D": None, "G_ema": network}
    read = read_nvidia_pickle(write(tmp_path / "network.pkl", content, protocol))
    assert read["class_name"] == "Generator"
    assert read["init_kwargs"] == {
        "z_dim": 512, "synthesis_kwargs": {"conv_clamp": 256}, "sizes": [[0, 1], [2, 3]]
    }  # fmt: skip
    wanted = network.state_dict()
    assert read["tensors"].keys() == wanted.keys() == {"weight", "scale", "fc.weight", "fc.scale"}
    assert all(torch.equal(read["tensors"][name], tensor) for name, tensor in wanted.items())
    assert not any(tensor.requires_grad for tensor in read["tensors"].values())


def _stored(function, *args):
    """The bytes of a tensor's storage with a call in it."""
    file = io.BytesIO()
    torch.save(Call(function, *args), file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def malice(marker):
    run = f"open({str(marker)!r}, 'w')"
    return {
        "os.system": Call(os.system, f"touch {marker}"),
        "builtins.eval": Call(eval, run),
        "builtins.open": Call(open, str(marker), "w"),
        "builtins.getattr": Call(getattr, "x", "upper"),
        "torch.load": Call(torch.load, str(marker)),
        "nested": Call(torch.storage._load_from_bytes, _stored(open, str(marker), "w")),
        "in a network": {"G_ema": Call(_reconstruct_persistent_obj, {"class_name": "G", "state": Call(eval, run)})},
        "in a dictionary": OrderedDict(x=[{"y": (Call(eval, run),)}]),
    }


@pytest.mark.parametrize("kind", malice("").keys())
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_asks_to_be_run_is_refused_and_not_run(tmp_path, kind, protocol):
    path = write(tmp_path / "evil.pkl", malice(tmp_path / "was_run")[kind], protocol)
    asks = {"os.system": f"asks for {os.system.__module__}.system", "nested": "nothing in it was run|asks for _codecs"}
    with pytest.raises(GeneratorError, match=rf"evil\.pkl.*({asks.get(kind, 'asks for [a-z_]+')})"):
        read_nvidia_pickle(path)
    assert not (tmp_path / "was_run").exists()


def _tensor_call(storage, *args):
    return Call(torch._utils._rebuild_tensor_v2, storage, *args, False, OrderedDict())


def refused():
    storage = torch.arange(4.0)._typed_storage()
    function = b"\x80\x04ctorch._utils\n_rebuild_tensor_v2\n"
    return {
        "sizes beyond the storage": pickle.dumps(_tensor_call(storage, 0, (5,), (1,))),
        "offset beyond the storage": pickle.dumps(_tensor_call(storage, 10**9, (2,), (1,))),
        "negative stride": pickle.dumps(_tensor_call(storage, 3, (2,), (-1,))),
        "no storage": pickle.dumps(_tensor_call({}, 0, (2,), (1,))),
        "objects by their address": pickle.dumps(np.array([object], dtype=object)),
        "attributes of a function": function + b"}X\x01\x00\x00\x00aK\x01sb.",
        "slots of a function": function + b"N}X\x04\x00\x00\x00callK\x01s\x86b.",
        "attributes of a type": b"\x80\x04cdnnlib.util\nEasyDict\nN}X\x03\x00\x00\x00popK\x01s\x86b.",
        "instances of a function": function + b")\x81.",
        "persistent ids": b"\x80\x04X\x01\x00\x00\x00aQ.",
        "extension registry": b"\x80\x04\x82\x05.",
        "module within itself": b"\x80\x04}(X\x05\x00\x00\x00G_ema}q\x00(X\x05\x00\x00\x00stateh\x00"
        b"X\x0b\x00\x00\x00_parameters}X\x08\x00\x00\x00_buffers}X\x08\x00\x00\x00_modules}X\x01\x00\x00\x00ah\x00s"
        b"X\x0a\x00\x00\x00class_nameX\x01\x00\x00\x00auu.",
        "huge memory": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        "huge registry number": b"\x80\x04\x84\xff\xff\xff\x7f.",
    }


@pytest.mark.parametrize("kind", refused().keys())
def test_a_crafted_pickle_is_refused(tmp_path, kind):
    before = vars(torch._utils._rebuild_tensor_v2).copy()
    path = tmp_path / "crafted.pkl"
    path.write_bytes(refused()[kind])
    with pytest.raises(GeneratorError, match=r"crafted\.pkl (can.t be read|is refused)"):
        read_nvidia_pickle(path)
    assert vars(torch._utils._rebuild_tensor_v2) == before


def test_damaged_and_foreign_files_are_named(tmp_path):
    path = tmp_path / "network.pkl"
    with pytest.raises(GeneratorError, match="there is no file"):
        read_nvidia_pickle(path)
    whole = write(path, {"G_ema": Persistent()}).read_bytes()
    ends = [position for _, _, position in pickletools.genops(whole)][1::40]
    for content in (b"", b"hello", b"PK\x03\x04", *(whole[:end] for end in (*ends, len(whole) - 1))):
        path.write_bytes(content)
        with pytest.raises(GeneratorError, match=r"network\.pkl can't be read .* Is it whole"):
            read_nvidia_pickle(path)
    for content, found in (({"G": None}, r"\['G'\]"), ([1], "list"), ({"G_ema": torch.ones(2)}, r"\['G_ema'\]")):
        with pytest.raises(GeneratorError, match=rf"network\.pkl holds {found}, expected .*'G_ema'"):
            read_nvidia_pickle(write(path, content))
    with pytest.raises(GeneratorError, match="can't be read"):
        read_nvidia_pickle(write(path, {"G_ema": {"class_name": "Generator", "state": {}}}))


def test_a_tensorflow_pickle_is_refused_with_the_way_out(tmp_path, monkeypatch):
    module = types.ModuleType("dnnlib.tflib.network")
    module.Network = type("Network", (), {"__module__": module.__name__})
    monkeypatch.setitem(sys.modules, "dnnlib.tflib", types.ModuleType("dnnlib.tflib"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(GeneratorError, match=r"asks for dnnlib\.tflib\.network\.Network.* with legacy\.py"):
        read_nvidia_pickle(write(tmp_path / "tf.pkl", (module.Network(),) * 3))


def test_every_name_in_the_registry_of_extensions_is_looked_up_here(tmp_path):
    copyreg.add_extension("os", "system", 200)
    try:
        path = tmp_path / "extension.pkl"
        path.write_bytes(b"\x80\x04\x82\xc8.")
        with pytest.raises(GeneratorError, match=r"asks for os\.system"):
            read_nvidia_pickle(path)
    finally:
        copyreg.remove_extension("os", "system", 200)
