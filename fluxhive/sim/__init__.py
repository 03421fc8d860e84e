"""The same core, driven by a heap instead of clocks, sockets and processes.

Two depths share ``agenda.py``. At *protocol depth* (network.py, protocol_world.py and what stands
beside them) the brain, one executor for each node and both ends of every link run against a faulty
network, crashes and reboots, with witnesses that believe none of them. At *policy depth* the brain
alone places tasks of which the simulator knows how long they take and how much they need. May
import the core and the protocol, nothing else of ours.
"""
