"""The asyncio shells of the boot plane: handed a Plane, they never meet the database or the control process."""
