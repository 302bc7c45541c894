"""What must outlive a process: the boot worker's journal, and the control process's database."""
