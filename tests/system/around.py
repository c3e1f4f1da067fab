"""The hospital around an appliance that is a machine of its own: all of the lab but the appliance's processes."""

from netguard.lab.hospital import Hospital
from netguard.lab.programs import AROUND


class Around(Hospital):
    """A lab in whose namespace `gw` nothing runs yet."""

    def _start_all(self):
        for process in AROUND[:-1]:
            self._spawn(process)
        for process in AROUND[:-1]:
            self._await(process)
        self.record.ready = True
        self.layout.write(self.record)
