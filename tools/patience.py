# SPDX-License-Identifier: MIT
"""The time limits of a machine (tools/run): after a limit it is made to report its state, then killed."""
import glob
import os
import time


def cpu_seconds(process, s):
    """Host CPU seconds used by one CPU of the machine; 0 without /proc."""
    try:
        with open(f"/proc/{process.pid}/stat", encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
    except OSError:
        return 0
    threads = int(s["SMP"]) if s["MODE"] == "mttcg" else 1
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") / threads


def delays(process):
    """Seconds that each thread of the machine has waited for a CPU of the host; {} without /proc."""
    waited = {}
    for path in glob.glob(f"/proc/{process.pid}/task/*/schedstat"):
        try:
            with open(path, encoding="ascii") as f:
                waited[path] = int(f.read().split()[1]) / 1e9
        except (OSError, IndexError):
            pass  # the thread has ended
    return waited


class FairClock:
    """Seconds, without those in which a thread of the machine waited for a CPU of the host.

    A busy host makes a machine slow, not wrong: by this clock it has the time that it needs."""

    def __init__(self, process):
        self.process, self.seconds = process, 0
        self.last, self.waited = time.monotonic(), delays(process)

    def now(self):
        """Brought up to date at most once a second: it reads a file for each thread."""
        passed = time.monotonic() - self.last
        if passed >= 1:
            waited = delays(self.process)
            lost = max((w - self.waited.get(t, 0) for t, w in waited.items()), default=0)
            self.seconds += max(passed - lost, 0)
            self.last, self.waited = self.last + passed, waited
        return self.seconds


class Patience:
    """The limits of one machine.

    The kernel ends a test after its limit by the machine's clock.  That clock can be slow
    (`pause` under icount), and with interrupts off the kernel does not read it.  So the host's
    CPU time is compared with the same limit, and the time without output, by FairClock, with a
    longer one.
    Under icount a second of the machine is a number of instructions, for which a slow host
    needs more than a second: it gets twice the limit.
    """

    def __init__(self, process, s):
        self.process, self.s = process, s  # s["monitor"]: a socket that takes commands
        self.clock, self.last_output = FairClock(process), 0
        self.test, self.used = None, 0  # the running test; CPU time when it began
        self.why = None  # why its state was asked for, at self.last_output

    def heard(self):
        """The machine has printed something."""
        if not self.why:
            self.last_output = self.clock.now()

    def over(self, ktap):
        """The limit that is exceeded, or None."""
        now = self.clock.now()
        silence = max(int(self.s["SILENCE"]), ktap.limit + 5 if ktap.test else 0)
        test = (ktap.suite, ktap.done, ktap.test)
        used = cpu_seconds(self.process, self.s)
        if self.test != test:
            self.test, self.used = test, used
        allowed = ktap.limit * (2 if self.s["MODE"] == "icount" else 1)
        if ktap.test and used - self.used > allowed:
            return f"used {allowed} s of a CPU"
        if now - self.last_output > silence:
            return f"silent for {silence} s"
        if now > int(self.s["LIMIT"]):
            return f"not done after {self.s['LIMIT']} s"
        return None

    def ask(self, why):
        """Send a break and an NMI: the kernel panics and prints the state of each CPU."""
        self.why, self.last_output = why, self.clock.now()
        print(f"# {why}: asking each CPU for its state (break and NMI)", flush=True)
        try:
            self.s["monitor"].sendall(b"chardev-send-break serial0\nnmi\n")
        except OSError:
            pass  # QEMU is ending

    def ended(self, ktap):
        """Enforce the limits: returns why the machine must be killed, or None."""
        if self.why:
            late = self.clock.now() - self.last_output > int(self.s["SILENCE"])
            return self.why if late else None
        why = self.over(ktap)
        if why:
            self.ask(why)
        return None
