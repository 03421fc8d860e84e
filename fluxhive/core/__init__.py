"""The rules of FlowHive, pure: no clock, no I/O, no randomness of its own, no await.

Three machines live here, and all three have the same four verbs:

* ``TaskManager`` (task_manager.py), the hive's brain: which task runs where, and what happens next;
* ``Executor`` (executor.py), one node's attempts: from dispatch to verified end;
* ``GpuMonitor`` (gpu_monitor.py), readings of GPUs folded into facts.

Three rules:

1. Time and identifiers come in from outside. ``handle(event, now_ms)`` takes an integer and returns
   effects; ``next_wakeup()`` says when ``TimePassed`` should be handed in.
2. An effect is plain data with all that is needed to carry it out; carrying it out twice does no
   harm. Shells (``fluxhive.server``, ``fluxhive.agent``) carry effects out, saves first.
3. What others send is answered, never raised: late, repeated and foreign messages are the normal
   case.

Read task.py (states and the two tables), then task_manager.py, then executor.py. The laws that
must hold after every event are in invariants.py.
"""
