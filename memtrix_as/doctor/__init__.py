"""`memtrix-as doctor`: looks at everything that an installation stands on, and names the fixes."""
