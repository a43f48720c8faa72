"""How arrays are placed, and how several devices and hosts train as one."""
