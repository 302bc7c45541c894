"""The asyncio shells of the boot plane. They are handed a Plane and never meet the database or the control process."""
