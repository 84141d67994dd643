"""Programs that nobody vouches for, run where they can neither harm this machine nor fake success.

`Sandbox` starts one helper process (`zygote.py`): a bare interpreter with a root file system of its
own. For each program it makes new user, process, mount, network, IPC and UTS namespaces. Their
first process (`supervisor.py`) enforces the limits from inside; the program (`program.py`) runs as
its child, without privileges and behind a system call filter. `docs/sandbox.md` says what this does
not contain.
"""
