"""Where arrays lie and how several devices and hosts train as one."""
