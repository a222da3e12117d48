"""What the parts of a Slurm on this machine are told: slurm.conf and gres.conf. Pure."""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

#: Far more than jobs ask for, whatever the machine has: GPUs are what runs out.
_CPUS = 64

_CONFIGURATION = """\
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
MailProg=/bin/true
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout={node_patience}
KillWait=5
MinJobAge={remembered}
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
_NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} Gres=gpu:{gpus} State=UNKNOWN\n"


class Cluster(NamedTuple):
    """How many nodes there are and how many GPUs each has; how long ended jobs and silent nodes are remembered."""

    nodes: int
    gpus: int
    remembered_seconds: int
    node_patience_seconds: int

    @property
    def names(self) -> list[str]:
        """Return the nodes' names."""
        return [f"node{number}" for number in range(1, self.nodes + 1)]


def slurm_conf(cluster: Cluster, folder: Path, ports: Sequence[int]) -> str:
    """Return slurm.conf; the first port is the controller's, the others are the nodes'."""
    host = socket.gethostname().split(".")[0]
    controller_port, *node_ports = ports
    shared = _CONFIGURATION.format(
        host=host,
        controller_port=controller_port,
        folder=folder,
        node_patience=cluster.node_patience_seconds,
        remembered=cluster.remembered_seconds,
    )
    nodes = zip(cluster.names, node_ports, strict=True)
    lines = [_NODE.format(name=name, host=host, port=port, cpus=_CPUS, gpus=cluster.gpus) for name, port in nodes]
    return shared.replace("PartitionName", "".join(lines) + "PartitionName")


def gres_conf(cluster: Cluster, folder: Path) -> str:
    """Return gres.conf: every node has the same devices, since none of them does anything."""
    devices = f"{folder}/gpu[0-{cluster.gpus - 1}]"
    return "".join(f"NodeName={name} Name=gpu File={devices}\n" for name in cluster.names)
