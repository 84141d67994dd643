"""Programs that attack: the machine, its limits, or the verdict of their own test.

The test asks for `answer(21) == 142`, which no program here knows. An escape does its attack in
`attempt`, which prints ESCAPED if it worked. In capitals are facts of the host that the test puts
in: CANARY (a file that anyone may write), SECRET (a file that anyone may read), FOLDER (theirs),
PORT (a listener on 127.0.0.1), PARENT (the test's process), MARKER (a process name that the test
looks for afterwards).
"""

PRELUDE = """
import ctypes, os, signal, socket, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    result = getattr(libc, name)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result

def attempt(action):
    try:
        result = action()
    except BaseException as error:
        print("refused:", type(error).__name__, error, flush=True)
    else:
        print("ESCAPED:", repr(result)[:200], flush=True)

def answer(x):
    return None
"""

ESCAPES = {
    "reads a file outside": "attempt(lambda: open('SECRET').read())",
    "reads the password file": "attempt(lambda: open('/etc/passwd').read())",
    "lists the home directory": "attempt(lambda: os.listdir('/root/.ssh'))",
    "lists home directories": "attempt(lambda: os.listdir('/home'))",
    "lists the canary's folder": "attempt(lambda: os.listdir('FOLDER'))",
    "reads the environment": "attempt(lambda: os.environ['CODEMIX_TEST_SECRET'])",
    "reads the helper's environment": """
def read():
    names = [name for name in os.listdir('/proc') if name.isdecimal()]
    assert any(b'SECRET' in open(f'/proc/{name}/environ', 'rb').read() for name in names)
attempt(read)""",
    "writes outside": "attempt(lambda: open('CANARY', 'w').write('harmed'))",
    "writes to the root": "attempt(lambda: open('/harmed', 'w'))",
    "writes to the libraries": "attempt(lambda: open(os.__file__, 'a'))",
    "deletes outside": "attempt(lambda: os.unlink('CANARY'))",
    "deletes the libraries": "attempt(lambda: os.unlink(os.__file__))",
    "empties the root": """
def empty():
    import shutil
    shutil.rmtree('/usr', ignore_errors=True)
    assert not os.path.exists('/usr/lib')
attempt(empty)""",
    "changes the mode of a library": "attempt(lambda: os.chmod(os.__file__, 0o777))",
    "makes a file belong to root": """
open('mine', 'w').close()
attempt(lambda: os.chown('mine', 0, 0))""",
    "links to a file outside": """
os.symlink('SECRET', 'link')
attempt(lambda: open('link').read())""",
    "links hard to the libraries": "attempt(lambda: os.link(os.__file__, '/tmp/hard'))",
    "climbs out by dots": "attempt(lambda: open('../../../../../../../..SECRET').read())",
    "climbs out through process 1's root": "attempt(lambda: open('/proc/1/rootSECRET').read())",
    "climbs out through process 1's folder": "attempt(lambda: os.listdir('/proc/1/cwd/..'))",
    "looks at process 1's files": "attempt(lambda: os.listdir('/proc/1/fd'))",
    "reads process 1's memory": "attempt(lambda: open('/proc/1/mem', 'rb'))",
    "writes process 1's memory": "attempt(lambda: open('/proc/1/mem', 'r+b'))",
    "opens the host's block device": "attempt(lambda: open('/dev/vda', 'rb'))",
    "opens the kernel's memory": "attempt(lambda: open('/dev/mem', 'rb'))",
    "writes a kernel setting": "attempt(lambda: open('/proc/sys/kernel/core_pattern', 'w'))",
    "pulls the system request key": "attempt(lambda: open('/proc/sysrq-trigger', 'w'))",
    "connects to the host": """
attempt(lambda: socket.create_connection(('127.0.0.1', PORT), 2).sendall(b'out'))""",
    "binds a port": """
def bind():
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
attempt(bind)""",
    "asks for a name": "attempt(lambda: socket.getaddrinfo('example.com', 80))",
    "sends a packet": """
attempt(lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT)))""",
    "opens a raw socket": "attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))",
    "talks to the hypervisor": "attempt(lambda: socket.socket(40, socket.SOCK_STREAM))",
    "asks the kernel for its links": "attempt(lambda: socket.socket(socket.AF_NETLINK, 3))",
    "kills the test": "attempt(lambda: os.kill(PARENT, signal.SIGUSR1))",
    "kills process 1": """
def kill():
    os.kill(1, signal.SIGKILL)
    time.sleep(0.1)
    os.kill(1, 0)
    raise PermissionError('process 1 does not listen')
attempt(kill)""",
    "traces process 1": "attempt(lambda: call('ptrace', 16, 1, 0, 0))",
    "asks to be traced": "attempt(lambda: call('ptrace', 0, 0, 0, 0))",
    "reads another's memory": "attempt(lambda: call('process_vm_readv', 1, None, 0, None, 0, 0))",
    "makes a device": "attempt(lambda: os.mknod('/tmp/disk', 0o060666, os.makedev(254, 0)))",
    "mounts": "attempt(lambda: call('mount', b'none', b'/tmp', b'tmpfs', 0, None))",
    "unmounts /proc": "attempt(lambda: call('umount2', b'/proc', 2))",
    "unshares a user namespace": "attempt(lambda: call('unshare', 0x10000000))",
    "clones into a user namespace": """
attempt(lambda: call('syscall', {'x86_64': 56, 'aarch64': 220}[os.uname().machine],
                     0x10000000 | 17, 0, 0, 0, 0))""",
    "enters process 1's namespaces": """
attempt(lambda: call('setns', os.open('/proc/1/ns/mnt', os.O_RDONLY), 0))""",
    "changes the root": "attempt(lambda: os.chroot('/tmp'))",
    "loads a kernel program": "attempt(lambda: call('syscall', 321, 0, 0, 0))",
    "becomes root": "attempt(lambda: os.setuid(0))",
    "renames the host": "attempt(lambda: call('sethostname', b'harmed', 6))",
    "sets the clock": "attempt(lambda: time.clock_settime(time.CLOCK_REALTIME, 0))",
    "holds memory that no file shows": "attempt(lambda: os.memfd_create('hidden'))",
    "raises its own limits": """
import resource
attempt(lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)))""",
    "runs a program that it wrote": """
with open('mine', 'w') as handle:
    handle.write('#!/bin/sh\\n')
os.chmod('mine', 0o755)
attempt(lambda: subprocess.run(['/tmp/mine'], check=True))""",
    "starts a shell": "attempt(lambda: subprocess.run(['/bin/sh', '-c', 'id'], check=True))",
    "fills the disk": """
def fill():
    for index in range(1000):
        with open(f'file{index}', 'wb') as handle:
            handle.write(bytes(1 << 20))
attempt(fill)""",
    "writes a large file": """
def write():
    with open('large', 'wb') as handle:
        for _ in range(100):
            handle.write(bytes(1 << 20))
attempt(write)""",
    "makes a large file without writing it": """
attempt(lambda: os.truncate(os.open('large', os.O_CREAT | os.O_RDWR), 1 << 40))""",
    "opens files without end": "attempt(lambda: [os.open('/dev/null', 0) for _ in range(10000)])",
    "makes files without end": """
def make():
    for index in range(200000):
        os.close(os.open(f'file{index}', os.O_CREAT))
attempt(make)""",
    "starts threads without end": """
def start():
    for _ in range(1000):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
attempt(start)""",
}
"""Each ends with a refusal, and its test fails."""

OVERLOADS = {
    "forks without end": ("while True:\n    os.fork()", {"failed", "timeout"}),
    "forks and waits": (
        "try:\n    while True:\n        os.fork()\nexcept OSError:\n    time.sleep(60)",
        {"timeout", "failed"},
    ),
    "loops": ("while True:\n    pass", {"timeout"}),
    "sleeps": ("time.sleep(1000)", {"timeout"}),
    "loops in an answer": ("def answer(x):\n    while True:\n        pass", {"timeout"}),
    "ignores the signal for its time": (
        "signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True:\n    pass",
        {"timeout"},
    ),
    "loops in C": ("10 ** 10 ** 10", {"timeout", "memory"}),
    "takes memory at once": ("x = bytearray(1 << 40)", {"memory"}),
    "takes memory bit by bit": (
        "x = []\nwhile True:\n    x.append(bytearray(1 << 20))",
        {"memory"},
    ),
    "takes memory in many processes": (
        "for _ in range(4):\n    if os.fork() == 0:\n        break\n"
        "x = bytearray(b'x') * (100 << 20)\ntime.sleep(60)",
        {"memory"},
    ),
    "takes memory in an answer": ("def answer(x):\n    return ' ' * (1 << 40)", {"memory"}),
    "writes without end": ("while True:\n    print('x' * 1000)", {"output"}),
    "writes errors without end": (
        "while True:\n    sys.stderr.write('x' * 1000)",
        {"output"},
    ),
    "answers without end": (
        "def answer(x):\n    while True:\n        os.write(3, b'x' * 65536)",
        {"timeout", "failed"},
    ),
    "recurses": ("def down(): down()\ndown()", {"failed"}),
    "recurses in C": (
        "sys.setrecursionlimit(10 ** 9)\nx = []\nfor _ in range(10 ** 6):\n    x = [x]\nrepr(x)",
        {"killed", "memory", "timeout"},
    ),
    "crashes the interpreter": ("ctypes.string_at(0)", {"killed"}),
    "aborts": ("os.abort()", {"killed"}),
    "kills all that it can": ("os.kill(-1, signal.SIGKILL)", {"failed"}),
    "kills itself": ("os.kill(os.getpid(), signal.SIGKILL)", {"killed"}),
    "stops itself": ("os.kill(os.getpid(), signal.SIGSTOP)", {"timeout"}),
    "slows its supervisor down": (
        "try:\n    os.setpriority(os.PRIO_PROCESS, 1, 19)\nexcept OSError:\n    pass\n"
        "while True:\n    pass",
        {"timeout"},
    ),
    "leaves a process behind": (
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
        "        libc.prctl(15, b'MARKER', 0, 0, 0)\n        time.sleep(1000)\n    os._exit(0)",
        {"failed"},
    ),
    "keeps the output open": (
        "if os.fork() == 0:\n    libc.prctl(15, b'MARKER', 0, 0, 0)\n    time.sleep(1000)\n"
        "os._exit(0)",
        {"failed"},
    ),
    "never ends its threads": (
        "threading.Thread(target=time.sleep, args=(1000,)).start()",
        {"failed", "timeout"},
    ),
    "never ends": ("import atexit\natexit.register(time.sleep, 1000)", {"failed", "timeout"}),
}
"""Source, and the statuses that it may end with."""

FORGERIES = {
    "exits with success": "sys.exit(0)",
    "exits with success at once": "os._exit(0)",
    "exits in an answer": "def answer(x):\n    os._exit(0)",
    "raises SystemExit in an answer": "def answer(x):\n    raise SystemExit(0)",
    "raises KeyboardInterrupt": "def answer(x):\n    raise KeyboardInterrupt",
    "raises StopIteration": "def answer(x):\n    raise StopIteration",
    "exits at the end": "import atexit\natexit.register(os._exit, 0)",
    "is equal to all": """
class Equal(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = int.__hash__
def answer(x):
    return Equal(0)""",
    "is equal to all without being a number": """
class Equal:
    def __eq__(self, other): return True
    def __req__(self, other): return True
def answer(x):
    return Equal()""",
    "claims another class": """
class Liar:
    __class__ = int
    def __int__(self): return 0
    def __index__(self): return 0
    def __eq__(self, other): return True
def answer(x):
    return Liar()""",
    "overwrites AssertionError": "import builtins\nbuiltins.AssertionError = ZeroDivisionError",
    "overwrites what compares": """
import builtins, operator
builtins.abs = builtins.all = builtins.any = lambda *a: True
operator.eq = lambda a, b: True""",
    "overwrites exec and compile": """
import builtins
builtins.exec = builtins.compile = builtins.eval = lambda *a, **k: None""",
    "overwrites os._exit": """
end = os._exit
os._exit = lambda code: end(0)""",
    "patches unittest": """
import unittest
unittest.TestCase.assertEqual = lambda *a: None
unittest.TestCase.run = lambda *a: None""",
    "patches the integers": """
digits = (ctypes.c_uint32 * 7).from_address(id(142))
digits[6] = 7  # after the count of references, the type and the size
def answer(x):
    return 7""",
    "traces for the test's frames": """
found = []
def trace(frame, event, argument):
    found.extend(one for one in frame.f_code.co_consts if isinstance(one, int))
    return trace
def answer(x):
    return max(found)
sys.settrace(trace)
threading.settrace(trace)""",
    "looks for the expected value in frames": """
def answer(x):
    frame = sys._getframe().f_back
    found = []
    while frame is not None:
        found += [one for one in frame.f_code.co_consts if isinstance(one, int) and 100 < one < 200]
        frame = frame.f_back
    return max(found)""",
    "looks for the test among all objects": """
def answer(x):
    import gc, re
    for one in gc.get_objects():
        if isinstance(one, dict):
            for value in list(one.values()):
                if isinstance(value, str) and (found := re.search(r'answer.21. == (\\d+)', value)):
                    return int(found[1])""",
    "looks for the test in its memory": """
def answer(x):
    import re
    for line in open('/proc/self/maps'):
        fields = line.split()
        if fields[1].startswith('rw'):
            low, high = (int(part, 16) for part in fields[0].split('-'))
            if found := re.search(rb'answer.21. == (\\d+)', ctypes.string_at(low, high - low)):
                return int(found[1])""",
    "patches json": """
import json
json.dumps = lambda *a, **k: '{"value": true}'""",
    "patches how answers are sent": """
import megatron_codemix.sandbox.values as values
values.encode = lambda *a: ['passed', True]""",
    "answers before it is asked": """
os.write(3, b'{"value": true}\\n' * 100)""",
    "sends what is no answer": "os.write(3, b'passed\\n')",
    "sends a report": """
for descriptor in range(64):
    try:
        os.write(descriptor, b'{"status": "passed", "exit_code": 0}\\n')
    except OSError:
        pass""",
    "sends an unknown type": """
os.write(3, b'{"value": ["__import__", "os"]}\\n')""",
    "sends a deep value": """
os.write(3, b'{"value": ' + b'["list", [' * 100000 + b']]' * 100000 + b'}\\n')""",
    "has the test raise what ends it": """
os.write(3, b'{"raised": "SystemExit", "arguments": ["list", ["0"]]}\\n')""",
    "has the test raise what warns": """
os.write(3, b'{"raised": "Warning", "arguments": ["list", []]}\\n')""",
    "has the test write to its own names": """
os.write(3, b'{"value": ["name", "print"]}\\n')""",
    "closes the socket": "os.close(3)",
    "hands the socket to a child": """
if os.fork() == 0:
    os.write(3, b'{"value": ["int", "0x0"]}\\n')
    time.sleep(60)
os._exit(0)""",
    "prints success": "print('passed OK 1 passed')\nsys.stdout.flush()\nos._exit(0)",
    "leaves a generator in place of the answer": "def answer(x):\n    yield 0",
    "returns itself": "def answer(x):\n    return answer",
    "cannot be parsed": "def answer(x: return 0",
    "defines nothing": "del answer",
    "replaces the name under test": "answer = True",
}
"""Each tries to pass without giving the right answer; none may."""
