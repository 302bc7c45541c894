"""The operations of the API, one file a noun. The list of all of them is api/application.py."""
