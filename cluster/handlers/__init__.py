"""What a broker answers: one function per API, one file per family. Which there are: `dispatch.HANDLERS`."""
