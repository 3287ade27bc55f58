// ctcnet-examples crops MODEL.onnx CROPS.u16 [BACKGROUND SCALE]
// ctcnet-examples frame MODEL.onnx FRAME.u16 WIDTHxHEIGHT [BACKGROUND SCALE]
//
// The files of counts and the levels are described in ../README.md.
using System;

static class Program
{
    static int Main(string[] args)
    {
        int required = args.Length > 0 && args[0] == "frame" ? 4 : 3;
        bool known = args.Length > 0 && (args[0] == "crops" || args[0] == "frame");
        if (!known || (args.Length != required && args.Length != required + 2))
        {
            Console.Error.WriteLine("usage: ctcnet-examples crops MODEL.onnx CROPS.u16 [BACKGROUND SCALE]\n"
                + "       ctcnet-examples frame MODEL.onnx FRAME.u16 WIDTHxHEIGHT [BACKGROUND SCALE]");
            return 2;
        }
        string background = args.Length > required ? args[required] : null;
        string scale = args.Length > required ? args[required + 1] : null;
        try
        {
            if (args[0] == "crops")
                ClassifyCrops.Run(args[1], args[2], background, scale);
            else
                FindEvents.Run(args[1], args[2], args[3], background, scale);
            return 0;
        }
        catch (Exception error)
        {
            Console.Error.WriteLine("error: " + error.Message);
            return 2;
        }
    }
}
