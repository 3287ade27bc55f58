"""Batch norm over two CPU processes equals batch norm over the whole batch in one."""

import socket

import pytest
import torch
from torch import distributed, multiprocessing, nn

from ctcnet.networks.batch_norm import synchronise_batch_norm

pytestmark = pytest.mark.integration


def _network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3))


def _batch():
    return torch.randn(7, 2, 8, 8, generator=torch.Generator().manual_seed(1)) * 3 + 1


def _worker(rank, port, queue):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    network = synchronise_batch_norm(_network())
    part = slice(0, 3) if rank == 0 else slice(3, 7)  # shares of unequal size
    network(_batch()[part]).square().sum().backward()
    gradients = []
    for parameter in network.parameters():
        assert parameter.grad is not None
        distributed.all_reduce(parameter.grad)
        gradients.append(parameter.grad.numpy())
    if rank == 0:
        queue.put((gradients, network[1].running_mean.numpy(), network[1].running_var.numpy()))
    distributed.destroy_process_group()


def test_two_processes_equal_one_with_the_whole_batch(free_port):
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    workers = [context.Process(target=_worker, args=(rank, free_port, queue)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    gradients, running_mean, running_var = queue.get()
    network = _network()
    network(_batch()).square().sum().backward()
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(torch.from_numpy(gradient), parameter.grad, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(torch.from_numpy(running_mean), network[1].running_mean)
    torch.testing.assert_close(torch.from_numpy(running_var), network[1].running_var)


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
