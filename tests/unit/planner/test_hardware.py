"""The tables of GPUs and networks, against data sheets, and what they lack."""

import pytest

from megatron_codemix.errors import ConfigError
from megatron_codemix.planner.hardware import (
    find_gpu,
    find_network,
    gpus,
    make_cluster,
    networks,
)


def test_every_row_is_whole_and_has_a_source() -> None:
    assert {"h100", "h100-pcie", "h200", "a100", "b200"} <= set(gpus())
    for gpu in gpus().values():
        assert gpu.source
        assert gpu.network in networks()
        assert (gpu.fp8_flops is None) == (gpu.compute_capability < (8, 9))
        assert gpu.fp8_flops is None or gpu.fp8_flops == pytest.approx(2 * gpu.bf16_flops, rel=1e-3)
        # Hundreds of operations for each byte on all of them: a wrong power of ten shows here.
        assert 100 < gpu.bf16_flops / gpu.memory_bandwidth < 400
        assert 30e9 < gpu.memory_bytes < 300e9
    for network in networks().values():
        assert network.source
        assert 1e9 < network.bandwidth <= 100e9


def test_the_h100_is_that_of_its_data_sheet() -> None:
    gpu = find_gpu("h100")
    assert gpu.bf16_flops == pytest.approx(1979e12 / 2, rel=1e-3)  # printed with sparsity
    assert gpu.fp8_flops == pytest.approx(3958e12 / 2, rel=1e-3)
    assert gpu.memory_bandwidth == 3.35e12
    assert gpu.nvlink_bandwidth == 900e9 / 2  # printed both ways


def test_names_are_taken_however_they_are_written() -> None:
    assert find_gpu("H100 PCIe") is find_gpu("h100-pcie")
    assert find_network("InfiniBand_NDR") is find_network("infiniband-ndr")


def test_a_cluster_has_the_usual_network_unless_another_is_named() -> None:
    assert make_cluster("a100").network.bandwidth == 25e9
    assert make_cluster("h100", network="ethernet-100").network.bandwidth < 2e9
    with pytest.raises(ConfigError, match="gpus-per-node"):
        make_cluster("h100", gpus_per_node=0)


@pytest.mark.parametrize("name", ["h10", "hundred"])
def test_what_the_table_lacks_is_named_with_what_there_is(name: str) -> None:
    with pytest.raises(ConfigError, match=f"no GPU '{name}'.*h100-pcie"):
        find_gpu(name)
    with pytest.raises(ConfigError, match="did you mean 'infiniband-ndr'"):
        find_network("infiniband-nd")
