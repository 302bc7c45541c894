"""The asyncio shells of the boot plane: handed a Plane, they never meet database or control process."""
