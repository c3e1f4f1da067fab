"""A connection of Ansible into a tree of Debian: `chroot` into one that lies there, `nsenter` into one that runs."""

import shlex
import shutil
import subprocess
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: tree
short_description: into a tree of Debian
description: [Runs each command behind the words of tree_enter.]
author: [netguard]
options:
  enter:
    description: The words in front of each command.
    vars: [{name: tree_enter}]
    required: true
  root:
    description: The folder of the tree, for files.
    vars: [{name: tree_root}]
    required: true
"""


class Connection(ConnectionBase):
    """Pipelines commands; files go through a shell inside, so that links are those of the tree."""

    transport = "tree"
    has_pipelining = True
    has_tty = False

    def _connect(self):
        self._connected = True
        return self

    def exec_command(self, cmd, in_data=None, sudoable=True):
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        return self._inside(["/bin/sh", "-c", cmd], in_data)

    def put_file(self, in_path, out_path):
        super().put_file(in_path, out_path)
        with Path(in_path).open("rb") as file:
            code, _, said = self._inside(["/bin/sh", "-c", f"cat > {shlex.quote(out_path)}"], file)
        if code:
            raise AnsibleError(f"{out_path}: {said!r}")

    def fetch_file(self, in_path, out_path):
        super().fetch_file(in_path, out_path)
        code, data, said = self._inside(["cat", in_path], b"")
        if code:
            raise AnsibleError(f"{in_path}: {said!r}")
        with Path(out_path).open("wb") as file:
            shutil.copyfileobj(__import__("io").BytesIO(data), file)

    def close(self):
        self._connected = False

    def _inside(self, words, given):
        how = {"stdin": given} if hasattr(given, "fileno") else {"input": given or b""}
        done = subprocess.run(
            [*shlex.split(self.get_option("enter")), *words],
            **how,
            capture_output=True,
            check=False,
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG": "C.UTF-8",
                "HOME": "/root",
                "DEBIAN_FRONTEND": "noninteractive",
            },
        )
        return done.returncode, done.stdout, done.stderr
